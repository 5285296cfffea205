package openapi

import (
	"context"
	"net/http"
	"strconv"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"

	"polestar/auth"
)

// coreRoutes are what the console asks before somebody logs in, and what has no
// place here and says so.
func coreRoutes() []route {
	none := coded{400000, "namespaces and services have no tokens here; users and groups do, and policies say what they may do"}
	tokens := func(method, path string) route {
		return route{method: method, path: path, action: auth.Read, answer: func(context.Context, *call) reply { return answer(none) }}
	}
	return []route{
		{method: http.MethodGet, path: "/core/v1/auth/status", action: auth.Read, open: true, answer: switches},
		tokens(http.MethodGet, "/naming/v1/service/token"),
		tokens(http.MethodPut, "/naming/v1/service/token"),
		tokens(http.MethodGet, "/naming/v1/namespaces/token"),
		tokens(http.MethodPut, "/naming/v1/namespaces/token"),
	}
}

// switches tells which APIs ask who is calling.
func switches(_ context.Context, c *call) reply {
	out := answer(nil)
	console, client := strconv.FormatBool(c.Checked(auth.ConsoleAPI)), strconv.FormatBool(c.Checked(auth.ClientAPI))
	out.OptionSwitch = &service_manage.OptionSwitch{Options: map[string]string{"auth": console, "consoleOpen": console, "clientOpen": client}}
	return out
}
