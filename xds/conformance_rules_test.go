package xds

// rule is one checkable demand on an xDS server.
type rule struct {
	id   string
	text string
	why  string // why no test has it; empty: one must
}

// section is a group of rules.
type section struct {
	title string
	rules []rule
}

// conformance lists what docs/xds-conformance.md shows. A rule is tested by
// every test whose name begins with its id: S-02 by TestS02….
var conformance = []section{
	{"Streams, identity, types", []rule{
		{"P-01", "State of the world and delta, each aggregated (ADS) and for one type (LDS, RDS, CDS, EDS). Types that are not served (SRDS, SDS, RTDS, VHDS, ECDS) have no service of their own.", ""},
		{"P-02", "`node` is needed in the first message of a stream only, and that message can be of any type.", ""},
		{"P-03", "State is kept per stream and type. A nonce lives as long as its stream. On ADS `type_url` must be there.", ""},
		{"P-04", "A type that is not served does not end the stream: silence in state of the world, `removed_resources` in delta.", ""},
		{"P-05", "Every response carries the identifier of the server instance.", ""},
		{"P-06", "Half-open connections are noticed by HTTP/2 PING; clients may PING every 30 s.", ""},
		{"P-07", "Responses above gRPC's limit of 4 MiB are split where the protocol allows it: everything but CDS and LDS in state of the world, which must be whole.", ""},
		{"P-08", "The server ends streams only when it stops, and then with UNAVAILABLE, so that clients go elsewhere.", ""},
	}},
	{"State of the world: versions, nonces, ACK, NACK", []rule{
		{"S-01", "`error_detail`, and nothing else, makes a NACK.", ""},
		{"S-02", "A request whose nonce is not the newest one of its type is not answered.", ""},
		{"S-03", "An ACK is answered only by news; a NACK never with the same content.", ""},
		{"S-04", "A NACK speaks of a whole response. Its resources are tried one by one; only the guilty one stays out.", ""},
		{"S-05", "CDS and LDS carry everything subscribed, absence meaning deletion; the other types never delete by absence.", ""},
		{"S-06", "A new name is answered even if nothing changed or the resource went out unasked.", ""},
		{"S-07", "`version_info` of an earlier stream suppresses nothing.", ""},
		{"S-08", "Names are a set: order and repetition mean nothing.", ""},
		{"S-09", "No resource twice in a response.", ""},
		{"S-10", "`version_info` moves exactly when the content does.", ""},
		{"S-11", "A repeated EDS request for a warming cluster gets its endpoints.", ""},
		{"S-12", "Resources are wrapped in `Resource` only for who asks for it; Polestar never wraps.", ""},
	}},
	{"Delta", []rule{
		{"D-01", "A name subscribed again is sent again.", ""},
		{"D-02", "A subscribed name that does not exist is in `removed_resources` at once; the subscription stays.", ""},
		{"D-03", "An outdated or unknown nonce does not void a change of the subscription.", ""},
		{"D-04", "After a reconnect with `initial_resource_versions` only differences are sent; a wildcard is answered, even empty.", ""},
		{"D-05", "The version of a resource is a hash of its content: the same on every server and after a restart.", ""},
		{"D-06", "Unsubscribing is not answered, except for a name beside the wildcard; phantom names are ignored.", ""},
		{"D-07", "An assignment is removed with its service only; that of a drained service is empty.", ""},
		{"D-08", "A refused form of a resource is never sent again.", ""},
		{"D-09", "One response per type is in flight; changes meanwhile coalesce. No type waits for another's ACK.", ""},
		{"D-10", "`aliases` of a resource are matched.", "aliases belong to VHDS, which is not served; virtual hosts are in their RouteConfiguration."},
	}},
	{"Ordering and warming", []rule{
		{"Order", "One change reaches a client as clusters, endpoints, listeners, routes; what is gone goes last and in reverse.", ""},
		{"W-01", "Every cluster that is sent is followed by its endpoints, changed or not.", ""},
		{"W-02", "Endpoints do not wait for the ACK of clusters.", ""},
		{"W-03", "A new cluster whose endpoints are subscribed already is followed by them, too.", ""},
		{"W-04", "What changes often (endpoints, weights, health, metadata) is not in the cluster.", ""},
		{"W-05", "Clusters are sent on change only.", ""},
		{"W-06", "Listeners are deterministic and do not change with what is registered.", ""},
		{"W-07", "The server decides about `initial_fetch_timeout`: Envoy's default of 15 s, never 0 (wait for ever).", ""},
		{"W-08", "No stream is answered before the registry is loaded: UNAVAILABLE.", ""},
	}},
	{"Wildcard", []rule{
		{"W-10", "Only LDS and CDS have a wildcard.", ""},
		{"W-11", "The legacy wildcard ends with the first name in state of the world, and with an unsubscribed `*` in delta.", ""},
		{"W-12", "Names beside the wildcard can exceed it.", ""},
		{"W-13", "A wildcard with nothing to send gets one empty response.", ""},
		{"W-14", "gRPC has no legacy wildcard.", ""},
		{"W-15", "EDS and RDS are by name: the endpoints of a cluster have its name, or its `service_name`.", ""},
	}},
	{"Missing resources", []rule{
		{"N-01", "In state of the world a missing name does not leave the client waiting: it is told.", ""},
		{"N-02", "A listener or cluster that a client had by name and that is gone is absent from the next response.", ""},
		{"N-03", "`resource_errors` has NOT_FOUND for a missing name, once, never beside the resource. PERMISSION_DENIED has no use yet: every node sees every namespace.", ""},
		{"N-04", "No resource has a TTL: losing the control plane must not lose endpoints.", ""},
		{"N-05", "A name that springs into existence is sent to every stream that named it.", ""},
	}},
	{"Overload", []rule{
		{"G25", "One response per type in flight, however fast things change. A client that does not read costs bounded memory and is cut off after 60 s.", ""},
		{"Bounds", "Names are bounded in length, number and bytes; hostile ones cost little.", ""},
	}},
	{"Defects of polaris-server's xDS that must not be here", []rule{
		{"ReferenceDefect01", "One client ends the process: delta without a node after the first message, a client that vanishes, an empty type URL, an HDS registration.", ""},
		{"ReferenceDefect02", "One changed service erases every other route of its namespace.", ""},
		{"ReferenceDefect03", "State of the world by name is answered only if every resource is named.", ""},
		{"ReferenceDefect04", "A deregistration some time after the registration is never noticed.", ""},
		{"ReferenceDefect05", "A service that goes takes the route table with it.", ""},
		{"ReferenceDefect06", "The order of pushes between types is random.", ""},
		{"ReferenceDefect07", "One bad registration poisons a namespace.", ""},
		{"ReferenceDefect08", "Delta leaves names without an answer, and sends the unchanged again after a restart.", ""},
		{"ReferenceDefect09", "No calls across namespaces; gRPC goes upstream as HTTP/1.1.", ""},
	}},
}
