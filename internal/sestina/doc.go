// Package sestina is the vocabulary of the project: scopes, ids, ARNs, error
// codes, identities, configuration sets, event destinations and tags. It holds
// data and the rules about data, no behaviour, and imports only the standard
// library, so that every other package may import it.
package sestina
