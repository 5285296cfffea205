// Package testenv starts real servers that tests need, on temporary
// directories and free ports, and ends them.
package testenv
