package adapter

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
)

func TestCallsTakeTurns(t *testing.T) {
	var q chunkQueue
	q.add(&outgoing{number: 1, rest: make([]byte, 3*callChunk)})
	q.add(&outgoing{number: 2, rest: make([]byte, 10)})
	q.add(&outgoing{number: 3, rest: make([]byte, callChunk+1)})
	aborted := &outgoing{number: 4, rest: make([]byte, 2*callChunk)}
	q.add(aborted)
	var got []string
	for !q.empty() {
		message, number, complete := q.next(nil)
		c, err := parseChunk(message)
		if err != nil || c.number != number {
			t.Fatal(c.number, number, err)
		}
		got = append(got, fmt.Sprint(number, " ", len(c.payload), " ", complete))
		if number == 4 {
			aborted.rest, aborted.abort = nil, true
		}
		if len(got) == 4 {
			q.add(&outgoing{number: 5})
		}
	}
	want := []string{
		"1 16384 false", "2 10 true", "3 16384 false", "4 16384 false",
		"1 16384 false", "3 1 true", "4 0 true", "5 0 true", "1 16384 true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the chunks were\n%q\nwant\n%q", got, want)
	}
}

func TestChunks(t *testing.T) {
	for _, tt := range []struct {
		name    string
		message []byte
		ok      bool
	}{
		{"nothing", nil, false},
		{"half a header", []byte{0, 0, 0, 1}, false},
		{"an empty end", []byte{0, 0, 0, 1, 1}, true},
		{"a chunk of nothing", []byte{0, 0, 0, 1, 0}, false},
		{"payload", []byte{0, 0, 0, 1, 0, 9}, true},
		{"an end with payload", []byte{0, 0, 0, 1, 1, 9}, true},
		{"an abort", []byte{0, 0, 0, 1, 2}, true},
		{"an abort with payload", []byte{0, 0, 0, 1, 2, 9}, false},
		{"an abort that is an end", []byte{0, 0, 0, 1, 3}, false},
		{"an unknown flag", []byte{0, 0, 0, 1, 4, 9}, false},
		{"as large as can be", make([]byte, callHeader+callChunk), true},
		{"larger", make([]byte, callHeader+callChunk+1), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parseChunk(tt.message)
			if tt.ok != (err == nil) || err != nil && !errors.Is(err, errCallsViolation) {
				t.Fatal(err)
			}
			if tt.ok && !bytes.Equal(appendChunk(nil, c), tt.message) {
				t.Errorf("%+v is not what was parsed", c)
			}
		})
	}
}

func TestAssemblyBound(t *testing.T) {
	payload := make([]byte, callChunk)
	var a assembly
	for range MaxCall / callChunk {
		if _, complete, err := a.add(chunk{number: 1, payload: payload}); complete || err != nil {
			t.Fatal(complete, err)
		}
	}
	if _, _, err := a.add(chunk{number: 1, flags: chunkEnd, payload: payload[:1]}); !errors.Is(err, errCallsViolation) {
		t.Fatal("one byte more:", err)
	}
	if whole, complete, err := a.add(chunk{number: 1, flags: chunkEnd}); !complete || len(whole) != MaxCall || err != nil {
		t.Error(len(whole), complete, err)
	}
	if a.begun(1) {
		t.Error("a part of what is complete is left")
	}
}
