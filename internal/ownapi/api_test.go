package ownapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/internal/store"
)

func all() Options {
	return Options{
		Reset:    func(context.Context) error { return nil },
		Simulate: func(context.Context, *store.Message, string, string) error { return nil },
		Advance:  func(context.Context, time.Duration) error { return nil },
	}
}

// TestDocumentDescribesEveryPath: the OpenAPI document and the routes name the
// same calls.
func TestDocumentDescribesEveryPath(t *testing.T) {
	t.Parallel()
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(openAPI, &doc); err != nil {
		t.Fatal(err)
	}
	described := map[string]bool{}
	for path, methods := range doc.Paths {
		for m := range methods {
			described[strings.ToUpper(m)+" "+strings.TrimPrefix(path, "/")] = true
		}
	}
	routes := (&API{Options: all()}).routes()
	for r := range routes {
		if !described[r] {
			t.Errorf("%s is served but not described", r)
		}
	}
	for d := range described {
		if routes[d] == nil {
			t.Errorf("%s is described but not served", d)
		}
	}
}

func TestForeignPagesAreRefused(t *testing.T) {
	t.Parallel()
	o := all()
	o.Hosts = []string{"mail.example.com"}
	a := New(o)
	for _, c := range []struct {
		host, origin string
		want         int
	}{
		{"127.0.0.1:4579", "", http.StatusOK},
		{"localhost:4579", "http://localhost:4579", http.StatusOK},
		{"[::1]:4579", "", http.StatusOK},
		{"mail.example.com", "", http.StatusOK},
		{"evil.example", "", http.StatusForbidden},
		{"evil.example:4579", "http://evil.example:4579", http.StatusForbidden},
		{"127.0.0.1:4579", "https://evil.example", http.StatusForbidden},
		{"127.0.0.1:4579", "null", http.StatusForbidden},
	} {
		r := httptest.NewRequest(http.MethodGet, "/sestina/v1/openapi.json", nil)
		r.Host = c.host
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("Host %q, Origin %q: %d, want %d", c.host, c.origin, w.Code, c.want)
		}
	}
}
