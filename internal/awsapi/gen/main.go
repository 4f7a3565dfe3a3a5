// Command gen reads the AWS API models and writes the packages below
// internal/awsapi: Go types, operations and schema tables.
//
// A model is C2J JSON, as AWS publishes it with botocore. An overlay file of
// the same form, merged over the model, adds what newer clients send and what
// the models leave out; each overlay says why it exists.
package main

import (
	"embed"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
)

//go:embed overlay/*.json
var overlays embed.FS

// A target is one service to generate.
type target struct {
	folder string // below the models folder
	pkg    string // package and folder name below the output folder
	cite   string // how comments name a shape: cite-model:Shape
}

var targets = []target{
	{"sesv2", "sesv2", "ses"},
	{"ses", "ses", "ses-v1"},
	{"sns", "sns", "sns"},
	{"sqs", "sqs", "sqs"},
	{"cloudwatch", "cloudwatch", "cloudwatch"},
	{"firehose", "firehose", "firehose"},
	{"pinpoint", "pinpoint", "pinpoint"},
	{"events", "eventbridge", "eventbridge"},
	{"sts", "sts", "sts"},
}

func main() {
	log.SetFlags(0)
	models := flag.String("models", "../shared/models", "folder with <service>/service-2.json")
	out := flag.String("out", ".", "folder that gets one folder per service")
	flag.Parse()
	var done []*table
	for _, t := range targets {
		tab, err := run(*models, *out, t)
		if err != nil {
			log.Fatalf("%s: %v", t.folder, err)
		}
		done = append(done, tab)
	}
	list, err := emitList(done)
	if err != nil {
		log.Fatal(err)
	}
	if err := write(filepath.Join(*out, "awsapitest"), []file{list}); err != nil {
		log.Fatal(err)
	}
}

// run generates the package of one service.
func run(models, out string, t target) (*table, error) {
	raw, err := os.ReadFile(filepath.Join(models, t.folder, "service-2.json"))
	if err != nil {
		return nil, err
	}
	overlay, err := overlays.ReadFile("overlay/" + t.folder + ".json")
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	m, err := loadModel(raw, overlay)
	if err != nil {
		return nil, err
	}
	tab := newTable(m, t)
	files, err := tab.files()
	if err != nil {
		return nil, err
	}
	return tab, write(filepath.Join(out, t.pkg), files)
}

func write(dir string, files []file) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f.name), f.data, 0o644); err != nil {
			return fmt.Errorf("write generated file: %w", err)
		}
	}
	return nil
}
