// Package openapi is Polaris' HTTP API: the messages and codes of the Polaris
// door as JSON, for polaris-server's console, its tools and scripts. What SDKs
// ask for goes through the Polaris door itself; the rest are an operator's use
// cases, under the switches and rights of the console.
package openapi
