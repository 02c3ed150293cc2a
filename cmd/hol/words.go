package main

import (
	"reflect"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// joined writes each flag and its value in one word, --loss=-1, so that a value
// may begin as a flag does, and refuses values that are missing or empty: those
// would be taken for flags that are not given. What is no flag with a value is
// left to the parser.
func joined(flags []*kong.Flag, args []string) ([]string, error) {
	named := make(map[string]*kong.Flag)
	for _, f := range flags {
		if !f.IsBool() {
			named["--"+f.Name] = f
		}
	}
	var words []string
	for i := 0; i < len(args); i++ {
		if args[i] == "--" {
			return append(words, args[i:]...), nil
		}
		name, value, given := strings.Cut(args[i], "=")
		f := named[name]
		if f == nil {
			words = append(words, args[i])
			continue
		}
		if !given && i+1 < len(args) && !flagLike(args[i+1]) {
			i++
			value = args[i]
		}
		if strings.TrimSpace(value) == "" {
			return nil, usagef("%s needs a value: %s=%s (see --help)", name, name, f.PlaceHolder)
		}
		if f.Target.Type() == reflect.TypeFor[*time.Duration]() {
			if _, err := time.ParseDuration(value); err != nil {
				return nil, usagef("%s: %q is no time, as 20ms is (see --help)", name, value)
			}
		}
		words = append(words, name+"="+value)
	}
	return words, nil
}

// flagLike says whether a word is a flag, and not a value: - is one, and so is a
// negative number, whose flag then says what it may be.
func flagLike(word string) bool {
	return len(word) > 1 && word[0] == '-' && !strings.ContainsRune(".0123456789", rune(word[1]))
}
