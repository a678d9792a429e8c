// Both does with parts of the standard library what netpilot-agent and its
// libraries do, and prints what came of it. Built with the overlay and without,
// it prints the same.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/flate"
	"compress/gzip"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"sort"
	"strings"
)

func main() {
	out := make(map[string]any)
	out["regexp"] = cut()
	out["requests"] = requests()
	out["posts"] = posts()
	out["responses"] = responses()
	out["inflate"] = inflate()
	out["sorted"] = sorted()
	_ = json.NewEncoder(os.Stdout).Encode(out)
}

func cut() (all []string) {
	re := regexp.MustCompile("[, ]+.*")
	for _, name := range []string{"", "format", "output, o", "a  b", "a,b\nc d\n", " x"} {
		all = append(all, re.ReplaceAllString(name, ""))
	}
	return all
}

// sent is what a request is on the wire.
func sent(r *http.Request) string {
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		return "error"
	}
	return b.String()
}

func requests() (all []string) {
	for _, address := range []string{
		"https://relay.example/api/agent/connect", "http://127.0.0.1:8080", "https://relay.example:8443/a b?q=1&r=\u00fc#part",
		"http://[::1]:80/x", "http://[fe80::1%25eth0]:80/x", "https://xn--bcher-kva.example/", "http:opaque", "http:///only",
	} {
		u, err := url.Parse(address)
		if err != nil {
			all = append(all, "no address")
			continue
		}
		for _, host := range []string{u.Host, "", "other.example", "a b", "a/b", "a\r\nX: 1", "[fe80::1%eth0]:1"} {
			// As gorilla/websocket does.
			r := (&http.Request{Method: http.MethodGet, URL: u, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Host: host,
				Header: http.Header{
					"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-WebSocket-Key": {"a2V5"}, "Sec-WebSocket-Version": {"13"},
					"Authorization": {"Bearer x"}, "User-Agent": {"netpilot-agent/1\r\nX: 1"}, "X-Two": {"a", " b\t"}, "Bad Name": {"x"}, "Bad:Name\r\n": {"x"},
					"Content-Length": {"7"}, "Host": {"no.example"}, "Transfer-Encoding": {"chunked"}, "Trailer": {"X"}, "Empty": {""}, "\u00dc": {"x"},
				}}).WithContext(context.Background())
			all = append(all, sent(r))
			delete(r.Header, "User-Agent")
			all = append(all, sent(r))
			r.Header["User-Agent"] = nil
			all = append(all, sent(r))
		}
		all = append(all, sent(&http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: "relay.example:443"}, Host: "relay.example:443", Header: http.Header{}}))
	}
	return all
}

func posts() (all []string) {
	for _, body := range [][]byte{nil, {}, []byte(`{"token":"x"}`), bytes.Repeat([]byte("x"), 10_000)} {
		r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "https://relay.example/api/agent/enrol", bytes.NewReader(body))
		if err != nil {
			all = append(all, "error")
			continue
		}
		r.Header.Set("content-type", "application/json")
		r.Header.Add("X-One", "1")
		r.Header.Add("x-one", "2")
		r.Header.Set("gone", "x")
		r.Header.Del("Gone")
		r.Close = true
		all = append(all, sent(r), fmt.Sprint(r.Header.Get("x-ONE"), r.Header.Values("X-One"), r.Header.Get("none"), r.Context() != nil))
	}
	_, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://a b/", nil)
	return append(all, fmt.Sprint(err != nil))
}

func responses() (all []string) {
	long := strings.Repeat("x", 20_000)
	heads := []string{
		"", "HTTP", "HTTP/1.1", "HTTP/1.1 ", "HTTP/1.1 200", "HTTP/1.1 200 OK", "HTTP/1.1  200 OK", "HTTP/1.0 404 Not Found", "HTTP/1.1 101 Switching Protocols",
		"HTTP/1.1 20 x", "HTTP/1.1 2000 x", "HTTP/1.1 +20 x", "HTTP/1.1 -20 x", "HTTP/1.1 abc x", "HTTP/2.0 200 OK", "HTTP/11 200 OK", "http/1.1 200 OK", "HTTP/1.x 200 OK",
		"ICY 200 OK", "HTTP/1.1 204 No Content", "HTTP/1.1 304 Not Modified", "HTTP/1.1 100 Continue", "\x00", "HTTP/1.1 200 " + long,
	}
	fields := []string{
		"", "Content-Length: 5\r\n", "Content-Length: 0\r\n", "Content-Length: 500\r\n", "Content-Length: -1\r\n", "Content-Length: +5\r\n", "Content-Length: 5x\r\n",
		"Content-Length: 5\r\nContent-Length: 5\r\n", "Content-Length: 5\r\nContent-Length: 6\r\n", "content-length: 5 \r\n", "Content-Length: 99999999999999999999\r\n",
		"Transfer-Encoding: chunked\r\n", "Transfer-Encoding: Chunked\r\nContent-Length: 3\r\n", "Transfer-Encoding: gzip\r\n", "Transfer-Encoding: gzip, chunked\r\n",
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: identity\r\n",
		"Upgrade: websocket\r\nconnection: Upgrade\r\nSec-WebSocket-Accept: x=\r\n", "X: 1\n", "X: 1\r\n folded\r\n", " X: 1\r\n", "no colon\r\n", "X : 1\r\n", ": 1\r\n", "X:\r\n", "X: a\x00b\r\n",
		"X: " + long + "\r\n", "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n", "\u00dc: 1\r\n",
	}
	bodies := []string{"", "hello", "hello and what follows", "5\r\nhello\r\n0\r\n\r\nnext", "5;x=1\r\nhello\r\n0\r\nT: 1\r\n\r\n", "5\r\nhel", "x\r\n", "ffffffffffffffffff\r\n", "3\r\nhello\r\n"}
	for _, head := range heads {
		for _, f := range fields {
			for _, end := range []string{"\r\n", "\n", ""} {
				for _, body := range bodies {
					all = append(all, answered(head+"\r\n"+f+end+body))
				}
			}
		}
		all = append(all, answered(head))
	}
	return all
}

// answered says what comes of an answer's bytes.
func answered(text string) string {
	r := bufio.NewReader(strings.NewReader(text))
	resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodGet})
	if err != nil {
		return fmt.Sprintf("error, cut %v", err == io.ErrUnexpectedEOF)
	}
	body, err := io.ReadAll(resp.Body)
	names := make([]string, 0, len(resp.Header))
	for name := range resp.Header {
		names = append(names, name)
	}
	sort.Strings(names)
	var b strings.Builder
	fmt.Fprintf(&b, "%q %d %d.%d", resp.Status, resp.StatusCode, resp.ProtoMajor, resp.ProtoMinor)
	for _, name := range names {
		fmt.Fprintf(&b, " %q:%q", name, resp.Header[name])
	}
	fmt.Fprintf(&b, " body %q error %v cut %v", body, err != nil, err == io.ErrUnexpectedEOF)
	if resp.StatusCode == 101 {
		rest, err := io.ReadAll(r)
		fmt.Fprintf(&b, " rest %q %v", rest, err)
	}
	return b.String()
}

func inflate() (all []string) {
	// What gzip -9 made of 1,000 bytes, and the same broken.
	good, err := hex.DecodeString("1f8b08000000000002ffcbcb492acfcdcf53c81ba434032313330b2b1b3b072717370f2f1fbf80a090b088a898b884a494b48cac9cbc82a292b28aaa9aba86a696b68eae9ebe81a191b189a999b985a595b58dad9dbd83a393b38bab9bbb87a797b78faf9f7f4060507048685878446454744c6c5c7c426252724a6a5a7a466656764e6e5e7e4161517149695979456555754d6d5d7d436353734b6b5b7b476757774f6f5fff848993264f993a6dfa8c99b366cf993b6ffe82858b162f59ba6cf98a95ab56af59bb6efd868d9b366fd9ba6dfb8e9dbb76efd9bb6fff8183870e1f397aecf88993a74e9f397beefc858b972e5fb97aedfa8d9bb76edfb97beffe83878f1e3f79faecf98b97af5ebf79fbeefd878f9f3e7ff9faedfb8f9fbf7efff9fbef7fc528201a24e797e695142b245596a4162b8c72503800c6f6da6ee8030000")
	if err != nil {
		return []string{err.Error()}
	}
	for i := range len(good) + 1 {
		for _, b := range [][]byte{good[:i], append(append(bytes.Clone(good[:i]), 0xff), good[min(i+1, len(good)):]...)} {
			z, err := gzip.NewReader(bytes.NewReader(b))
			if err != nil {
				all = append(all, "no gzip")
				continue
			}
			text, err := io.ReadAll(z)
			all = append(all, fmt.Sprintf("%d %v", len(text), err))
		}
	}
	text, err := io.ReadAll(flate.NewReader(strings.NewReader("\x01\x05\x00\xfa\xffhello")))
	return append(all, fmt.Sprintf("%s %v", text, err))
}

type pair struct{ a, b int }

func sorted() (all []string) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 200 {
		numbers, names, pairs := make([]int, n), make([]string, n), make([]pair, n)
		for i := range n {
			numbers[i] = r.IntN(n)
			names[i] = fmt.Sprint(r.IntN(n))
			pairs[i] = pair{r.IntN(n), i}
		}
		slices.Sort(numbers)
		slices.Sort(names)
		slices.SortStableFunc(pairs, func(a, b pair) int { return cmp.Compare(a.a, b.a) })
		all = append(all, fmt.Sprint(numbers, names, pairs))
		slices.SortFunc(pairs, func(a, b pair) int { return cmp.Or(cmp.Compare(b.a, a.a), cmp.Compare(a.b, b.b)) })
		all = append(all, fmt.Sprint(pairs))
	}
	return all
}
