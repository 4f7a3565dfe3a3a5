// Package nodes tests several nodes of the real program that share one
// PostgreSQL database: that any of them answers any request, that what one
// changes is honoured by the others in time, and that nothing is lost when
// nodes are killed or stand still, or when the database goes away.
package nodes
