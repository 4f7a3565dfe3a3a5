// Package app is all the wiring, in plain Go: New builds the parts, Run starts
// them in the one listed order and, in reverse, stops them. Nothing imports it
// but the program itself. There is no registration and no global state, so what
// runs can be read here.
package app
