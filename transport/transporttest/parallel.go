package transporttest

import (
	"flag"
	"runtime"
	"strconv"
)

// SetParallel has more tests run beside one another than there are processors,
// unless -parallel says how many: those that may, by [Caps].Parallel or
// t.Parallel, mostly wait for real timers. It is for TestMain.
func SetParallel() {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if given {
		return
	}
	if err := flag.Set("test.parallel", strconv.Itoa(4*runtime.GOMAXPROCS(0))); err != nil {
		panic(err)
	}
}
