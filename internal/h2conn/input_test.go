package h2conn

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// pieces is a connection that gives one piece for each read, then err.
type pieces struct {
	left  [][]byte
	err   error
	sizes []int // of the buffers it was given
}

func (p *pieces) Read(b []byte) (int, error) {
	p.sizes = append(p.sizes, len(b))
	if len(p.left) == 0 {
		return 0, p.err
	}
	n := copy(b, p.left[0])
	if p.left[0] = p.left[0][n:]; len(p.left[0]) == 0 {
		p.left = p.left[1:]
	}
	return n, nil
}

func sequence(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 31 >> 3)
	}
	return b
}

func TestInput(t *testing.T) {
	t.Run("gives every byte in order, whatever is asked for", func(t *testing.T) {
		want := sequence(200_000)
		for _, ask := range []int{1, 9, 100, smallInput, 1000, largeInput, 16 << 10} {
			var in input
			nc := &pieces{err: io.EOF}
			for rest, n := want, 1; len(rest) > 0; n = n*3%20_011 + 1 {
				n = min(n, len(rest))
				nc.left = append(nc.left, rest[:n])
				rest = rest[n:]
			}
			in.nc = nc
			var got []byte
			buf := make([]byte, ask)
			for {
				n, err := in.Read(buf)
				got = append(got, buf[:n]...)
				if err != nil {
					break
				}
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%d at a time: %d bytes of %d, or others", ask, len(got), len(want))
			}
			if in.large != nil {
				t.Errorf("%d at a time: the large buffer was kept", ask)
			}
		}
	})
	t.Run("waits with the small buffer, and has the large one while there is more", func(t *testing.T) {
		nc := &pieces{err: io.EOF, left: [][]byte{sequence(3000), sequence(20)}}
		in := input{nc: nc}
		for range 3020 {
			if _, err := in.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		in.await()
		want := []int{smallInput, largeInput, smallInput, smallInput}
		if len(nc.sizes) != len(want) {
			t.Fatalf("reads of %v, want %v", nc.sizes, want)
		}
		for i := range want {
			if nc.sizes[i] != want[i] {
				t.Fatalf("reads of %v, want %v", nc.sizes, want)
			}
		}
		if in.large != nil {
			t.Error("the large buffer was kept")
		}
	})
	t.Run("large reads go around the buffers", func(t *testing.T) {
		nc := &pieces{err: io.EOF, left: [][]byte{sequence(16 << 10)}}
		in := input{nc: nc}
		header := make([]byte, 9)
		if _, err := io.ReadFull(&in, header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(&in, make([]byte, 16<<10-9)); err != nil {
			t.Fatal(err)
		}
		if len(nc.sizes) != 2 || nc.sizes[1] != 16<<10-smallInput || in.large != nil {
			t.Errorf("reads of %v", nc.sizes)
		}
	})
	t.Run("discard", func(t *testing.T) {
		nc := &pieces{err: io.EOF, left: [][]byte{sequence(5000), sequence(5000)}}
		in := input{nc: nc}
		if err := in.discard(7000); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1)
		if _, err := in.Read(b); err != nil || b[0] != sequence(5000)[2000] {
			t.Errorf("then %d, %v", b[0], err)
		}
		if err := in.discard(3000); err != io.EOF {
			t.Errorf("beyond the end: %v", err)
		}
	})
	t.Run("an error comes behind the bytes, and stays", func(t *testing.T) {
		broken := errors.New("broken")
		in := input{nc: &pieces{err: broken, left: [][]byte{{1, 2, 3}}}}
		b := make([]byte, 8)
		if n, err := in.Read(b); n != 3 || err != nil {
			t.Errorf("Read = %d, %v", n, err)
		}
		for range 2 {
			in.await()
			if n, err := in.Read(b); n != 0 || err != broken {
				t.Errorf("Read = %d, %v", n, err)
			}
		}
	})
}
