package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"net"

	"github.com/go-sql-driver/mysql"

	"polestar/naming"
)

// The error numbers that mean something to us (MySQL's server error reference;
// Galera reports a lost certification as a deadlock).
const (
	errLockWait    = 1205 // ER_LOCK_WAIT_TIMEOUT
	errDeadlock    = 1213 // ER_LOCK_DEADLOCK
	errTooBig      = 1153 // ER_NET_PACKET_TOO_LARGE
	errOutOfRange  = 1264 // ER_WARN_DATA_OUT_OF_RANGE
	errBadValue    = 1366 // ER_TRUNCATED_WRONG_VALUE_FOR_FIELD
	errTooLong     = 1406 // ER_DATA_TOO_LONG
	errReadOnly    = 1290 // ER_OPTION_PREVENTS_STATEMENT: --read-only
	errReadOnlyTx  = 1792 // ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION
	errReadOnlyAll = 1836 // ER_READ_ONLY_MODE
	errNotPrepared = 1047 // ER_UNKNOWN_COM_ERROR: a Galera node without quorum
	errShutdown    = 1053 // ER_SERVER_SHUTDOWN
	errTooMany     = 1040 // ER_CON_COUNT_ERROR: the host has all connections that it takes
	errTooManyUser = 1203 // ER_TOO_MANY_USER_CONNECTIONS
	errUserLimit   = 1226 // ER_USER_LIMIT_REACHED: the same, where the user's own limit counts
	errCommit      = 1180 // ER_ERROR_DURING_COMMIT: a Galera node that lost the others meanwhile
	errInterrupted = 1317 // ER_QUERY_INTERRUPTED
	errKilled      = 1927 // ER_CONNECTION_KILLED
	errDuplicate   = 1062 // ER_DUP_ENTRY
	errChanged     = 1020 // ER_CHECKREAD: a row is not as it was read
	errNoTable     = 1146 // ER_NO_SUCH_TABLE
)

// number is MySQL's number of an error, 0 when it has none.
func number(err error) uint16 {
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return e.Number
	}
	return 0
}

// retryable reports whether the same transaction may succeed when it is tried
// again: nothing of it was done. A Galera node that is about to abort a
// transaction in favour of another node's may find a revision taken first.
func retryable(err error) bool {
	switch number(err) {
	case errDeadlock, errLockWait, errDuplicate, errChanged:
		return true
	default:
		return false
	}
}

// elsewhere reports whether a new connection, to this host or another one, may
// do what this one did not.
func elsewhere(err error) bool {
	switch number(err) {
	case errReadOnly, errReadOnlyTx, errReadOnlyAll, errNotPrepared, errShutdown, errCommit, errInterrupted, errKilled, errTooMany, errTooManyUser, errUserLimit:
		return true
	default:
		return lost(err)
	}
}

// lost reports whether the connection, not the statement, failed. One that its
// caller gave up did not.
func lost(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, context.DeadlineExceeded)
}

// undone reports whether an answer to the last request of a transaction says
// for sure that it was not committed. Whatever else comes instead of an answer
// leaves that open: a Galera node may be cut off after it has sent the commit
// to the others.
func undone(err error) bool {
	switch number(err) {
	case errDeadlock, errLockWait, errDuplicate, errChanged, errReadOnly, errReadOnlyTx, errReadOnlyAll, errTooLong, errOutOfRange, errBadValue, errTooBig:
		return true
	default:
		return false
	}
}

// notDone names an error of a transaction that was not committed.
func notDone(err error) error {
	if _, ours := errors.AsType[*naming.Error](err); ours {
		return err
	}
	kind := naming.StoreFailed
	switch number(err) {
	case errTooLong, errOutOfRange, errBadValue, errTooBig:
		kind = naming.Invalid // some row of the group; the batch finds out which
	}
	return &naming.Error{Kind: kind, Msg: "nothing was done", Err: err}
}

// unknown names an error after which the commit may have been made or not.
func unknown(err error) error {
	return &naming.Error{Kind: naming.OutcomeUnknown, Msg: "outcome unknown; a retry is safe", Err: err}
}
