package block

import "testing"

func TestOffset(t *testing.T) {
	b := Get()
	defer Put(b)
	for _, c := range []struct{ from, to int }{{0, 0}, {0, Size}, {1, 2}, {100, Size}, {Size, Size}} {
		if got := b.Offset(b[c.from:c.to]); got != c.from {
			t.Errorf("[%d:%d] begins at %d", c.from, c.to, got)
		}
		if got := b.Offset(b[:c.to][c.from:]); got != c.from {
			t.Errorf("[:%d][%d:] begins at %d", c.to, c.from, got)
		}
	}
}
