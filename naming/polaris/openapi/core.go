package openapi

import (
	"context"
	"net/http"
	"strconv"

	"github.com/polarismesh/specification/source/go/api/v1/security"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/auth"
	"polestar/naming/polaris"
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
		{method: http.MethodPost, path: "/core/v1/user/login", action: auth.Read, open: true, answer: login},
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

// login makes a token that runs out, not one that is always the same. The owner
// that a console sends beside the name has no meaning: names are of one space.
func login(ctx context.Context, c *call) reply {
	in, err := object[security.LoginRequest](c.r)
	if err != nil {
		return answer(err)
	}
	u, token, err := c.Login(ctx, c.actor(), c.route.method+" "+c.route.path, in.GetName().GetValue(), in.GetPassword().GetValue())
	if err != nil {
		return c.done(0, polaris.Denial(err))
	}
	role := "sub" // of Polaris' account types
	if u.Main {
		role = "main"
	}
	out := answer(nil)
	out.LoginResponse = &security.LoginResponse{
		UserId: wrapperspb.String(u.ID), OwnerId: wrapperspb.String(""), Name: wrapperspb.String(u.Name), Role: wrapperspb.String(role), Token: wrapperspb.String(token),
	}
	return out
}
