// Package dashboard tests the relay's pages in a headless Chromium: a real
// relay, real agents on simulated routers, and what a person sees compared
// with what the REST API says.
package dashboard
