// Package config is what `sestina dev` and `sestina serve` are told at start:
// one struct whose tags make the flags, the environment variables, the keys of
// the configuration file and the reference page in docs/configuration.md.
// A flag wins over the environment, which wins over the file, which wins over
// the default. Unknown keys in the file are errors. Everything that an SES user
// would change goes through the API and lives in the store, not here.
package config
