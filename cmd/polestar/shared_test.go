package main

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"net"
	"slices"
	"strings"
	"testing"

	"polestar/internal/testenv"
	"polestar/store"
	"polestar/store/bolt"
	"polestar/store/mysql"
	"polestar/web"
)

// onMySQL are the tests of whole servers that also run on a shared store. They
// do so as subtests of TestOnMySQL, which is how their helpers know.
var onMySQL = map[string]func(*testing.T){
	"admin API and commands":  TestManagingCommands,
	"a lost main user":        TestRecover,
	"a poisoned write":        TestAPoisonedWriteFailsAlone,
	"a removal":               TestReferenceDefectRemovalsAreNotSeen,
	"accounts":                TestAccountsOfAWholeServer,
	"who may do what":         TestWhoMayDoWhat,
	"denials":                 TestDeniedAndTakenBack,
	"first start":             TestFirstStartMakesTheMainUser,
	"login":                   TestLogin,
	"no user":                 TestRecoverWithoutUsers,
	"own tokens":              TestOwnTokens,
	"several first starts":    severalFirstStarts,
	"the main user":           TestOnlyTheMainUserIsOverTheMainUser,
	"bad registrations":       TestReferenceDefect07BadRegistrationsAtTheDoor,
	"bench":                   TestBenchMeasuresAWholeServer,
	"clean-up":                TestCleanupOfAWholeServer,
	"clients":                 TestClientsOfAWholeServer,
	"deregistration":          TestReferenceDefect04DeregistrationIsNoticed,
	"events":                  TestFollowedEvents,
	"host of the database":    hostOfTheDatabase,
	"explain":                 TestExplainInstances,
	"explain services":        TestExplainServices,
	"history and events":      TestHistoryAndEventsOfAWholeServer,
	"HTTP door":               TestHTTPDoorOfAWholeServer,
	"inventory":               TestTheInventoryLocatesInstancesAndClients,
	"isolation":               TestANoteAboutWhatStaysIsolated,
	"keep alive":              TestKeepAlive,
	"mass-loss guard":         TestTheGuardOnTheCommandLine,
	"operators' commands":     TestOperatorsCommandsReachClients,
	"register and deregister": TestRegisterAndDeregisterCommands,
	"restart":                 TestReferenceDefect08RestartSendsOnlyDifferences,
	"store commands":          TestStoreCommands,
	"the first beat":          TestReferenceDefectTheFirstBeatIsRefused,
	"unknown beats":           TestReferenceDefectUnknownBeatsAreKept,
	"wait":                    TestWaitOnAWholeServer,
	"whole way":               TestRegistrationTravelsTheWholeWay,
}

// database is the server of TestOnMySQL while that runs.
var database *testenv.MariaDB

// What whole servers do on the embedded store they do on a shared one.
func TestOnMySQL(t *testing.T) {
	db, err := testenv.StartMariaDB(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	database = db
	t.Cleanup(func() {
		database = nil
		if err := db.Stop(); err != nil {
			t.Error(err)
		}
	})
	for name, test := range onMySQL {
		t.Run(name, test)
	}
}

// Readiness and metrics say which of several hosts is used.
func hostOfTheDatabase(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	_ = l.Close()
	w := startWhole(t, t.TempDir(), func(c *Config) { c.MySQL.DSN = strings.Replace(c.MySQL.DSN, "(", "("+dead+",", 1) })
	if got := w.metric(t, "polestar_database_host", database.Addr); got != 1 {
		t.Errorf("the metric of the host in use is %v", got)
	}
	checks := w.checks()
	if n := slices.IndexFunc(checks, func(c web.Check) bool { return c.Name == "database" }); n < 0 || !strings.Contains(checks[n].Text, database.Addr) {
		t.Errorf("readiness says %+v", checks)
	}
}

// dsnFor is the database that stands for a data directory; empty where stores
// are embedded.
func dsnFor(t testing.TB, dir string) string {
	t.Helper()
	if !strings.HasPrefix(t.Name(), "TestOnMySQL/") {
		return ""
	}
	sum := sha256.Sum256([]byte(dir))
	name := "d" + hex.EncodeToString(sum[:8])
	db, err := sql.Open("mysql", database.DSN("mysql"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err = db.ExecContext(context.Background(), "CREATE DATABASE IF NOT EXISTS "+name); err != nil {
		t.Fatal(err)
	}
	return database.DSN(name)
}

// onStore lets a server keep what it stores where the test wants it.
func onStore(t testing.TB, cfg *Config) {
	t.Helper()
	if dsn := dsnFor(t, cfg.DataDir); dsn != "" {
		var err error
		cfg.Store, cfg.MySQL.DSN = backendMySQL, dsn
		if cfg.Cluster.ID, err = runID(cfg.ServerID); err != nil {
			t.Fatal(err)
		}
	}
}

// storeFlags are those of a command that works on the store itself.
func storeFlags(t testing.TB, dir string) []string {
	t.Helper()
	if dsn := dsnFor(t, dir); dsn != "" {
		return []string{"--store", backendMySQL, "--mysql-dsn", dsn, "--data-dir", dir}
	}
	return []string{"--data-dir", dir}
}

// openedStore opens the store of a data directory without a server.
func openedStore(t testing.TB, dir string) store.Store {
	t.Helper()
	if dsn := dsnFor(t, dir); dsn != "" {
		cfg := mysql.Default()
		cfg.DSN = dsn
		s, err := mysql.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s, err := bolt.Open(bolt.Config{Dir: dir, Log: store.DefaultLogBounds()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
