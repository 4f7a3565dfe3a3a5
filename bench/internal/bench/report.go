package bench

import (
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
)

// A Report is what a benchmark program prints: readable on the terminal, and
// the same as Markdown in a file.
type Report struct {
	name     string
	out      string // folder of the Markdown file
	markdown strings.Builder
	failed   []string
}

// Main runs a benchmark program: it reads the flags that all of them have and
// gives fn the program under test and a temporary folder of its own on the disk
// that is measured. A failed Must makes the exit status 1. SESTINA_BENCH_ABOUT
// says what machine and commit the figures are of.
func Main(name, title string, fn func(r *Report, bin, dir string) error) {
	log.SetFlags(0)
	log.SetPrefix(name + ": ")
	bin := flag.String("bin", "", "the sestina binary under measurement")
	out := flag.String("out", "", "folder for the results as Markdown; none when empty")
	tmp := flag.String("tmp", "", "folder for data, on the disk to be measured; default the system's")
	flag.Parse()
	dir, err := os.MkdirTemp(*tmp, "sestina-bench-")
	if err != nil {
		log.Fatal(err)
	}
	r := &Report{name: name, out: *out}
	r.Say("# %s", title)
	if about := os.Getenv("SESTINA_BENCH_ABOUT"); about != "" {
		r.Say("%s.", about)
	}
	err = fn(r, *bin, dir)
	if err != nil {
		if text, readErr := os.ReadFile(filepath.Join(dir, "log")); readErr == nil && len(text) > 0 {
			log.Printf("the program's log ends with:\n%s", text[max(0, len(text)-4000):])
		}
	}
	if removeErr := os.RemoveAll(dir); err == nil {
		err = removeErr
	}
	if err != nil {
		log.Fatal(err)
	}
	if err := r.save(); err != nil {
		log.Fatal(err)
	}
	if len(r.failed) > 0 {
		log.Fatalf("does not hold: %s", strings.Join(r.failed, "; "))
	}
}

// Say prints a paragraph.
func (r *Report) Say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	fmt.Println(text)
	fmt.Println()
	fmt.Fprintf(&r.markdown, "%s\n\n", text)
}

// Must prints a promise and whether it holds.
func (r *Report) Must(ok bool, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if ok {
		r.Say("holds: %s", text)
		return
	}
	r.failed = append(r.failed, text)
	r.Say("DOES NOT HOLD: %s", text)
}

// Table prints rows under a heading row.
func (r *Report) Table(head []string, rows [][]string) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{head}, rows...) {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	_ = w.Flush() // to standard output
	fmt.Println()
	line := func(cells []string) { fmt.Fprintf(&r.markdown, "| %s |\n", strings.Join(cells, " | ")) }
	line(head)
	line(strings.Split(strings.Repeat("---,", len(head)-1)+"---", ","))
	for _, row := range rows {
		line(row)
	}
	_, _ = io.WriteString(&r.markdown, "\n")
}

func (r *Report) save() error {
	if r.out == "" {
		return nil
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, r.name+".md"), []byte(strings.TrimRight(r.markdown.String(), "\n")+"\n"), 0o644)
}

// Millis formats a duration in milliseconds.
func Millis(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	if ms < 10 {
		return fmt.Sprintf("%.1f", ms)
	}
	return fmt.Sprintf("%.0f", ms)
}

// MB formats bytes in units of 2^20.
func MB(n int64) string { return fmt.Sprintf("%.0f", float64(n)/(1<<20)) }

// Rate formats a number per second.
func Rate(v float64) string { return fmt.Sprintf("%.0f", v) }
