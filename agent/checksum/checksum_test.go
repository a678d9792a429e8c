package checksum

import "testing"

// The check value of CRC-32C is that of the digits 1 to 9.
func TestOf(t *testing.T) {
	const want = 0xe3069283
	if got := Of([]byte("123456789")); got != want {
		t.Errorf("got %#x, want %#x", got, want)
	}
	if got := Extend(Of([]byte("1234")), []byte("56789")); got != want {
		t.Errorf("in two parts: got %#x, want %#x", got, want)
	}
	if got := Of(nil); got != 0 {
		t.Errorf("of nothing: got %#x", got)
	}
}
