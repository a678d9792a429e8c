// Hard does what the runtime needs its tables for: stacks that grow and are
// moved, collections of garbage with live pointers in them, goroutines stopped
// anywhere, recovered panics, callers; then it crashes.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
)

type kept struct {
	size  int
	bytes []byte
	next  *kept
}

// lists takes lists of spans far past their first size: objects of all sizes,
// kept and dropped by several goroutines, with collections in between.
func lists() {
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			var list *kept
			for i := range 100000 {
				size := 8 << (i % 12) // to 16 KiB
				k := &kept{size: size, bytes: make([]byte, size), next: list}
				k.bytes[0], k.bytes[size-1] = byte(i), byte(g)
				if list = k; i%977 == 0 {
					list = list.next.half()
				}
				if i%20000 == 0 {
					runtime.GC()
				}
			}
			for k := list; k != nil; k = k.next {
				if len(k.bytes) != k.size || k.bytes[k.size-1] != byte(g) {
					panic("memory was used twice")
				}
			}
		})
	}
	all.Wait()
}

// half drops every second of a list.
func (k *kept) half() *kept {
	for i := k; i != nil && i.next != nil; i = i.next {
		i.next = i.next.next
	}
	return k
}

func deep(n int, list *kept) int {
	if n == 0 {
		runtime.GC()
		count := 0
		for k := list; k != nil; k = k.next {
			count += k.size
		}
		return count
	}
	var pad [64]byte
	pad[n%64] = 1
	return deep(n-1, &kept{size: 1, next: list}) + int(pad[n%64]) - 1
}

// stopped is preempted in a loop without a call, with live pointers.
func stopped() int {
	var done atomic.Bool
	var all sync.WaitGroup
	list := &kept{size: 7}
	all.Go(func() {
		for i := range 200 {
			_ = strings.Repeat("garbage", i)
			runtime.GC()
		}
		done.Store(true)
	})
	n, size := 0, 0
	for !done.Load() {
		n++
		size = list.size
	}
	all.Wait()
	return size + min(n, 1)
}

func recovered() (err error) {
	defer func() { err = fmt.Errorf("recovered %v", recover()) }()
	for i := range 3 {
		defer func() { _ = i }()
	}
	var none *kept
	none.next = nil
	return nil
}

type shape interface{ area() int }
type square struct{ side int }

func (s square) area() int { return s.side * s.side }

// wrapped calls a method of a value by a nil pointer.
func wrapped() (err error) {
	defer func() { err = fmt.Errorf("%v", recover()) }()
	return fmt.Errorf("%d", some(len(os.Args)).area())
}

// some is a nil pointer that the compiler cannot see through.
//
//go:noinline
func some(n int) shape {
	if n > 1000 {
		return square{n}
	}
	return (*square)(nil)
}

func generic[T any](n T) string {
	pc, _, _, _ := runtime.Caller(0)
	return runtime.FuncForPC(pc).Name()
}

func main() {
	lists()
	fmt.Println(deep(10000, nil), stopped(), recovered())
	fmt.Println(wrapped())
	_, file, line, ok := runtime.Caller(0)
	fmt.Println(file, line, ok, generic(1), generic(kept{}))
	crash(len(os.Args))
}

func crash(n int) {
	panic(n) // here
}
