package polaris

// Answer makes one response without a stream.
var Answer = (*Server).answer
