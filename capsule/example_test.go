package capsule_test

import (
	"fmt"

	"github.com/towpath-go/towpath/capsule"
)

// printer is a Handler that prints what it is told.
type printer struct{}

func (printer) Stream(id uint64, fin bool, size uint64) error {
	fmt.Printf("stream %d, fin %v, %d bytes\n", id, fin, size)
	return nil
}

func (printer) StreamData(p []byte, last bool) error {
	fmt.Printf("data %q, last %v\n", p, last)
	return nil
}

func (printer) Datagram(size uint64) (accept bool, err error) {
	fmt.Printf("datagram of %d bytes\n", size)
	return size <= 1200, nil
}

func (printer) DatagramData(p []byte, last bool) error {
	fmt.Printf("payload %q, last %v\n", p, last)
	return nil
}

func (printer) Control(c capsule.Capsule) error {
	fmt.Println(c)
	return nil
}

func (printer) Skipped(t capsule.Type, n uint64) error {
	fmt.Printf("skipped %d bytes of %v\n", n, t)
	return nil
}

func ExampleDecoder() {
	var b []byte
	b = capsule.MaxData{MaximumData: 1 << 20}.Append(b)
	b = capsule.AppendStreamHeader(b, true, capsule.Draft15, 4, 5)
	b = append(b, "hello"...)
	b = capsule.AppendDatagramHeader(b, 2)
	b = append(b, "hi"...)
	b = capsule.CloseSession{ErrorCode: 1, Message: "bye"}.Append(b)

	// The bytes may come in pieces of any size.
	var d capsule.Decoder
	for _, p := range [][]byte{b[:17], b[17:]} {
		if err := d.Feed(p, printer{}); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println("inside a capsule:", d.Partial())
	// Output:
	// WT_MAX_DATA max=1048576
	// stream 4, fin true, 5 bytes
	// data "he", last false
	// data "llo", last true
	// datagram of 2 bytes
	// payload "hi", last true
	// WT_CLOSE_SESSION code=1 message="bye"
	// inside a capsule: false
}
