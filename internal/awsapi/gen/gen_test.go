package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestGolden generates the package of a small model and its overlay and
// compares it with the files in testdata.
func TestGolden(t *testing.T) {
	t.Parallel()
	tgt := target{"toy", "toy", "toy"}
	var first []file
	for range 3 { // maps are walked in another order every time
		m, err := loadModel(read(t, "model.json"), read(t, "overlay.json"))
		if err != nil {
			t.Fatal(err)
		}
		tab := newTable(m, tgt)
		files, err := tab.files()
		if err != nil {
			t.Fatal(err)
		}
		list, err := emitList([]*table{tab})
		if err != nil {
			t.Fatal(err)
		}
		list.name = "list.go"
		files = append(files, list)
		for i, f := range files {
			if first != nil && !bytes.Equal(f.data, first[i].data) {
				t.Fatalf("%s differs from run to run", f.name)
			}
		}
		first = files
	}
	for _, f := range first {
		golden := f.name + ".golden"
		if *update {
			if err := os.WriteFile(filepath.Join("testdata", golden), f.data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.HasPrefix(f.data, []byte(header)) {
			t.Errorf("%s does not say that it is generated", f.name)
		}
		if want := read(t, golden); !bytes.Equal(f.data, want) {
			t.Errorf("%s:\n%s\nwant:\n%s", f.name, f.data, want)
		}
	}
}

// TestBadModels checks that a model that cannot be generated is refused with
// the reason.
func TestBadModels(t *testing.T) {
	t.Parallel()
	op := `"operations":{"A":{"name":"A","http":{},"input":{"shape":"In"}}}`
	for name, c := range map[string]struct{ model, want string }{
		"NotJSON":         {`{`, "unexpected"},
		"UnknownShape":    {`{` + op + `,"shapes":{}}`, `A: no shape "In"`},
		"UnknownMember":   {`{` + op + `,"shapes":{"In":{"type":"structure","members":{"M":{"shape":"X"}}}}}`, `In: no shape "X"`},
		"UnknownRequired": {`{` + op + `,"shapes":{"In":{"type":"structure","required":["M"],"members":{}}}}`, "In requires M"},
		"UnknownType":     {`{` + op + `,"shapes":{"In":{"type":"structure","members":{"M":{"shape":"X"}}},"X":{"type":"document"}}}`, `unknown type "document"`},
		"MapKeyIsNoText": {`{` + op + `,"shapes":{"In":{"type":"structure","members":{"M":{"shape":"X"}}},"X":{"type":"map","key":{"shape":"K"},"value":{"shape":"K"}},"K":{"type":"long"}}}`,
			"keys of type long"},
		"NameTaken": {`{` + op + `,"shapes":{"In":{"type":"structure","members":{"M":{"shape":"AOutput"}}},"AOutput":{"type":"structure","members":{}}}}`,
			"the Go name AOutput is wanted by"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, err := loadModel([]byte(c.model), nil)
			if err == nil {
				_, err = newTable(m, target{"toy", "toy", "toy"}).files()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// TestOverlays checks that every overlay belongs to a service and says why it
// exists.
func TestOverlays(t *testing.T) {
	t.Parallel()
	entries, err := overlays.ReadDir("overlay")
	if err != nil || len(entries) == 0 {
		t.Fatal(entries, err)
	}
	for _, e := range entries {
		folder := strings.TrimSuffix(e.Name(), ".json")
		known := false
		for _, tgt := range targets {
			known = known || tgt.folder == folder
		}
		b, err := overlays.ReadFile("overlay/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if keys, _, err := orderedObject(b); err != nil || keys[0] != "comment" || !known {
			t.Errorf("%s: known %v, keys %v, %v", e.Name(), known, keys, err)
		}
	}
}
