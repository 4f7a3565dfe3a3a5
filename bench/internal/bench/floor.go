package bench

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" // SNS SignatureVersion 1 is SHA-1
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Appends measures the floor under every durable acceptance: writers hand
// records of size bytes to one goroutine that appends what is waiting to a file
// and syncs it once (group commit). It returns records per second.
func Appends(dir string, writers, size int, d time.Duration) (float64, error) {
	f, err := os.CreateTemp(dir, "append-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close(); _ = os.Remove(f.Name()) }()
	queue := make(chan chan error, writers)
	committed := make(chan struct{})
	record := make([]byte, size)
	go func() {
		defer close(committed)
		var batch []chan error
		var data []byte
		for first := range queue {
			batch, data = append(batch[:0], first), append(data[:0], record...)
			for more := true; more; {
				select {
				case done, ok := <-queue:
					if more = ok; ok {
						batch, data = append(batch, done), append(data, record...)
					}
				default:
					more = false
				}
			}
			_, err := f.Write(data)
			if err == nil {
				err = f.Sync()
			}
			for _, done := range batch {
				done <- err
			}
		}
	}()
	n, took, err := Closed(writers, d, func(int) (func() error, func(), error) {
		done := make(chan error, 1)
		return func() error { queue <- done; return <-done }, func() {}, nil
	})
	close(queue)
	<-committed
	return float64(n) / took.Seconds(), err
}

// Syncs measures writing a page to a file and syncing it, n times, and returns
// the time of one.
func Syncs(dir string, n int) (time.Duration, error) {
	path := filepath.Join(dir, "sync-probe")
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close(); _ = os.Remove(path) }()
	began := time.Now()
	for range n {
		if _, err := f.WriteAt(make([]byte, 4096), 0); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
	}
	return time.Since(began) / time.Duration(n), nil
}

// Signatures measures RSA-2048 PKCS#1 v1.5 signatures of SHA-1 digests, as SNS
// makes them, with crypto/rsa on the given number of goroutines. It returns
// signatures per second and the CPU time of one.
func Signatures(goroutines int, d time.Duration) (float64, time.Duration, error) {
	key, err := signKey()
	if err != nil {
		return 0, 0, err
	}
	self := &Process{PID: os.Getpid()}
	cpu := self.CPU()
	n, took, err := Closed(goroutines, d, func(i int) (func() error, func(), error) {
		sum := sha1.Sum([]byte{byte(i)}) // SNS SignatureVersion 1 is SHA-1
		return func() error {
			_, err := rsa.SignPKCS1v15(nil, key, crypto.SHA1, sum[:])
			return err
		}, func() {}, nil
	})
	if err != nil {
		return 0, 0, err
	}
	return float64(n) / took.Seconds(), (self.CPU() - cpu) / time.Duration(n), nil
}

var signKey = sync.OnceValues(func() (*rsa.PrivateKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return key, nil
})
