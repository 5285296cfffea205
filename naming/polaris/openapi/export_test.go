package openapi

// Routes are "METHOD path" of everything that the door answers.
func (s *Server) Routes() (out []string) {
	for path, methods := range s.routes {
		for method := range methods {
			out = append(out, method+" "+path)
		}
	}
	return out
}
