package config

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// EnvPrefix begins the environment variable of every flag.
const EnvPrefix = "SESTINA_"

// A file is a configuration file as a kong resolver: flags that neither the
// command line nor the environment gives are looked up in it.
type file struct {
	path   string
	values map[string]any
}

// Resolver returns a kong option that reads the file named by the flag
// --config or SESTINA_CONFIG among args. Keys that are no flag of cfg's are
// errors that name the key.
func Resolver(args []string) kong.Option {
	return kong.OptionFunc(func(k *kong.Kong) error {
		path := configPath(args)
		if path == "" {
			return nil
		}
		f, err := open(path)
		if err != nil {
			return err
		}
		return kong.Resolvers(f).Apply(k)
	})
}

func configPath(args []string) string {
	for i, a := range args {
		if v, ok := strings.CutPrefix(a, "--config="); ok {
			return v
		}
		if a == "--config" && i+1 < len(args) {
			return args[i+1]
		}
	}
	return os.Getenv(EnvPrefix + "CONFIG")
}

func open(path string) (*file, error) {
	r, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer r.Close()
	return read(path, r)
}

func read(path string, r io.Reader) (*file, error) {
	f := &file{path: path, values: map[string]any{}}
	if err := yaml.NewDecoder(r).Decode(&f.values); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read configuration %s: %w", path, err)
	}
	known := Names()
	for key := range f.values {
		if !slices.Contains(known, key) {
			return nil, fmt.Errorf("read configuration %s: unknown key %q (keys are the names of the flags, see sestina serve --help)", path, key)
		}
	}
	return f, nil
}

// Validate implements kong.Resolver; keys were checked when the file was read.
func (f *file) Validate(*kong.Application) error { return nil }

// Resolve implements kong.Resolver.
func (f *file) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, env := range flag.Envs {
		if _, set := os.LookupEnv(env); set {
			return nil, nil
		}
	}
	v, ok := f.values[flag.Name]
	if !ok {
		return nil, nil
	}
	if list, ok := v.([]any); ok {
		parts := make([]string, len(list))
		for i, x := range list {
			parts[i] = fmt.Sprint(x)
		}
		return strings.Join(parts, ","), nil
	}
	return fmt.Sprint(v), nil
}

// Names returns the names of all flags, in the order of Config.
func Names() []string {
	var names []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		if f.Tag.Get("kong") == "-" {
			continue
		}
		names = append(names, flagName(f))
	}
	return names
}

func flagName(f reflect.StructField) string {
	if n := f.Tag.Get("name"); n != "" {
		return n
	}
	return strings.ToLower(f.Name)
}

// Reference returns the reference page, docs/configuration.md.
func Reference() string {
	var b strings.Builder
	b.WriteString("# Configuration\n\nThis page is made from the `Config` struct in `internal/config`; `go test ./internal/config -update` writes it.\n\n")
	b.WriteString("A flag wins over its environment variable, which wins over the key of the same name in the file given with `--config` (YAML), ")
	b.WriteString("which wins over the default. Unknown keys in the file are errors. Lists are separated by commas, or are YAML lists.\n\n")
	b.WriteString("| Flag and key | Environment | Default | Meaning |\n|---|---|---|---|\n")
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		if f.Tag.Get("kong") == "-" {
			continue
		}
		name, def := flagName(f), f.Tag.Get("default")
		if def != "" {
			def = "`" + def + "`"
		}
		fmt.Fprintf(&b, "| `--%s` | `%s` | %s | %s |\n", name, EnvPrefix+strings.ToUpper(strings.ReplaceAll(name, "-", "_")), def, strings.ReplaceAll(f.Tag.Get("help"), "|", `\|`))
	}
	return b.String()
}

// Print writes the effective configuration as a configuration file. Passwords
// in URLs are masked.
func (c Config) Print(w io.Writer) error {
	c.Relay, c.DatabaseURL = mask(c.Relay), mask(c.DatabaseURL)
	v := reflect.ValueOf(c)
	node := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range reflect.VisibleFields(v.Type()) {
		if f.Tag.Get("kong") == "-" || f.Name == "File" {
			continue
		}
		value := &yaml.Node{}
		if err := value.Encode(v.FieldByIndex(f.Index).Interface()); err != nil {
			return fmt.Errorf("print configuration key %s: %w", flagName(f), err)
		}
		node.Content = append(node.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: flagName(f)}, value)
	}
	text, err := yaml.Marshal(node)
	if err != nil {
		return fmt.Errorf("print configuration: %w", err)
	}
	_, err = w.Write(text)
	return err
}

func mask(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.User == nil {
		return s
	}
	return u.Redacted()
}
