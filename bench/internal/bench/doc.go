// Package bench is what the benchmark programs share: they start the real
// program, drive it over loopback with clients that cost as little as possible,
// and read its memory and CPU time from /proc. Linux only.
package bench
