package sns

import "testing"

func TestLRU(t *testing.T) {
	t.Parallel()
	l := newLRU[int, string](2)
	l.put(1, "a")
	l.put(2, "b")
	l.get(1, nil) // now 2 is the oldest
	l.put(3, "c")
	if _, ok := l.get(2, nil); ok {
		t.Error("the oldest is still there")
	}
	l.put(1, "A")
	if v, ok := l.get(1, nil); !ok || v != "A" {
		t.Errorf("got %q", v)
	}
	if v, _ := l.get(3, func() string { return "made" }); v != "c" {
		t.Errorf("made anew: %q", v)
	}
	if v, _ := l.get(4, func() string { return "made" }); v != "made" || l.order.Len() != 2 {
		t.Errorf("got %q, %d entries", v, l.order.Len())
	}
}
