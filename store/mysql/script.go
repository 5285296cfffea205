package mysql

import (
	"context"
	"database/sql"
	"strings"
)

// maxRequest is the size in bytes at which a request is sent and the next one
// begun; MariaDB takes 16 MiB unless told otherwise.
const maxRequest = 4 << 20

// script gathers statements into few requests.
type script struct {
	statements []statement
}

type statement struct {
	text string
	args []any
	size int // about that in a request
}

// add appends one statement.
func (s *script) add(text string, args ...any) {
	size := len(text) + 2
	for _, a := range args {
		size += sizeOf(a)
	}
	s.statements = append(s.statements, statement{text, args, size})
}

// sizeOf is about the size of an argument in a request: texts may be escaped.
func sizeOf(a any) int {
	switch x := a.(type) {
	case string:
		return 2*len(x) + 2
	case []byte:
		return 2*len(x) + 10
	default:
		return 30
	}
}

// insert appends statements that insert rows, which change the columns of
// those that are there already, by keys: as many rows in each as fit. There is
// no statement for no rows.
func (s *script) insert(table, columns string, update []string, rows [][]any) {
	if len(rows) == 0 {
		return
	}
	place := "(" + marks(len(rows[0])) + ")"
	var tail strings.Builder
	for n, column := range update {
		if n == 0 {
			tail.WriteString(" ON DUPLICATE KEY UPDATE ")
		} else {
			tail.WriteString(", ")
		}
		tail.WriteString(column + " = VALUES(" + column + ")")
	}
	for len(rows) > 0 {
		var args []any
		n, size := 0, 0
		for n < len(rows) && (n == 0 || size < maxRequest/8) {
			for _, a := range rows[n] {
				size += sizeOf(a)
			}
			args = append(args, rows[n]...)
			n++
		}
		s.add("INSERT INTO "+table+" ("+columns+") VALUES "+strings.Repeat(place+", ", n-1)+place+tail.String(), args...)
		rows = rows[n:]
	}
}

// each appends a statement for all keys; condition has one place for the list.
func (s *script) each(statement string, keys []string) {
	if len(keys) == 0 {
		return
	}
	args := make([]any, len(keys))
	for n, k := range keys {
		args[n] = k
	}
	s.add(strings.Replace(statement, "??", marks(len(keys)), 1), args...)
}

// marks returns n placeholders.
func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

// run sends all statements, and one more at the end. When it fails, last tells
// whether that was the request that has the one at the end.
func (s *script) run(ctx context.Context, conn *sql.Conn, end string) (last bool, err error) {
	s.add(end)
	most := maxRequest
	if apart(conn) {
		most = 0
	}
	for rest := s.statements; len(rest) > 0; {
		n, size := 0, 0
		var texts []string
		var args []any
		for n < len(rest) && (n == 0 || size+rest[n].size <= most) {
			size += rest[n].size
			texts, args = append(texts, rest[n].text), append(args, rest[n].args...)
			n++
		}
		rest = rest[n:]
		if _, err := conn.ExecContext(ctx, strings.Join(texts, "; "), args...); err != nil {
			return len(rest) == 0, err
		}
	}
	return true, nil
}
