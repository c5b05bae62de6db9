// Starts Tempo from its packages.
//
// Its own main package would do, but for one thing: which of two codecs gRPC uses for Tempo's messages
// is settled there by the order in which packages are initialised, and that order changed with Go 1.21.
// Built with a newer Go, that program panics at the first span. Here the codec is chosen in main, when all
// packages are initialised. Options: -config.file, -config.expand-env, -config.verify and -version.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/drone/envsubst"
	"github.com/grafana/tempo/cmd/tempo/app"
	"github.com/grafana/tempo/pkg/util/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/version"
	"gopkg.in/yaml.v2"
)

const program = "tempo"

type options struct {
	file      string
	expandEnv bool
	verify    bool
	version   bool
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", program, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	given, err := parse(arguments)
	if err != nil {
		return err
	}
	if given.version {
		fmt.Println(version.Print(program))
		return nil
	}
	config, err := load(given)
	if err != nil {
		return err
	}
	if given.verify {
		return verify(config)
	}
	useGogoCodec()
	prometheus.MustRegister(version.NewCollector(program))
	log.InitLogger(&config.Server)
	tempo, err := app.New(*config)
	if err != nil {
		return fmt.Errorf("cannot be set up: %w", err)
	}
	return tempo.Run()
}

func parse(arguments []string) (options, error) {
	var given options
	flags := flag.NewFlagSet(program, flag.ContinueOnError)
	flags.StringVar(&given.file, "config.file", "", "the configuration `file`")
	flags.BoolVar(&given.expandEnv, "config.expand-env", false, "replace ${NAME:-default} in it by environment variables")
	flags.BoolVar(&given.verify, "config.verify", false, "only check the configuration; status 1 when it has a flaw")
	flags.BoolVar(&given.version, "version", false, "print the version")
	err := flags.Parse(arguments)
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("does not know what to do with %q", flags.Arg(0))
	}
	return given, err
}

// load returns Tempo's defaults overlaid with the configuration file.
func load(given options) (*app.Config, error) {
	config := &app.Config{}
	config.RegisterFlagsAndApplyDefaults("", flag.NewFlagSet(program, flag.ContinueOnError))
	if given.file == "" {
		return config, nil
	}
	content, err := os.ReadFile(given.file)
	if err != nil {
		return nil, err
	}
	text := string(content)
	if given.expandEnv {
		if text, err = envsubst.EvalEnv(text); err != nil {
			return nil, fmt.Errorf("%s: %w", given.file, err)
		}
	}
	if err := yaml.UnmarshalStrict([]byte(text), config); err != nil {
		return nil, fmt.Errorf("%s: %w", given.file, err)
	}
	return config, nil
}

func verify(config *app.Config) error {
	var flaws []error
	for _, warning := range config.CheckConfig() {
		flaws = append(flaws, fmt.Errorf("%s %s", warning.Message, warning.Explain))
	}
	return errors.Join(flaws...)
}
