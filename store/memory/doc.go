// Package memory is the shortest store that passes the suite: maps under a
// mutex. Nothing is durable. It is the model for tests, not for users.
package memory
