//! Every limit, time-out, size and port, with its unit and its reason.
//!
//! Nothing here depends on anything else. Related figures are asserted against each other at compile time.

use std::time::Duration;

// ---- Ports -------------------------------------------------------------------------------------------------------

/// The port of plain HTTP (RFC 9110, 4.2.1).
pub const HTTP_PORT: u16 = 80;
/// The port of HTTPS (RFC 9110, 4.2.2).
pub const HTTPS_PORT: u16 = 443;
/// Where `--local` listens when ports below 1024 are not allowed.
pub const HTTP_PORT_UNPRIVILEGED: u16 = 8080;
/// See [`HTTP_PORT_UNPRIVILEGED`].
pub const HTTPS_PORT_UNPRIVILEGED: u16 = 8443;
/// The UDP port of the control protocol.
pub const CONTROL_PORT: u16 = 40608;

// ---- Names -------------------------------------------------------------------------------------------------------

/// Bytes of a domain name without its final dot (RFC 1035, 2.3.4).
pub const DOMAIN_BYTES_MAX: usize = 253;
/// Bytes of one label (RFC 1035, 2.3.4).
pub const LABEL_BYTES_MAX: usize = 63;

// ---- Control protocol --------------------------------------------------------------------------------------------

/// Bytes of a command datagram: `list after` with the longest name takes 264.
pub const COMMAND_BYTES_MAX: usize = 512;
/// Bytes of a reply: clients of the protocol read that many and no more.
pub const REPLY_BYTES_MAX: usize = 1024;
/// Bytes of outside text quoted in an `error` reply (B185).
pub const QUOTE_BYTES_MAX: usize = 64;
/// Receive buffer asked for on control sockets: 8 MB held 20,164 short commands, the default 256 (B190).
pub const CONTROL_RECEIVE_BUFFER_BYTES: usize = 8 * 1024 * 1024;
/// Changes that wait for the disk; beyond it datagrams wait in the kernel's buffer. Above a burst of 20,000.
pub const CONTROL_QUEUE_MAX: usize = 32_768;
/// Datagrams read in one turn of the control loop, so that replies and finished commits come in between.
pub const CONTROL_TURN_MAX: usize = 256;
/// Requests that share one commit: publishing and answering so many takes some 20 ms (B193).
pub const COMMIT_REQUESTS_MAX: usize = 4_096;
/// Pause after the kernel had no memory for a datagram.
pub const CONTROL_PAUSE: Duration = Duration::from_millis(100);
/// How long the CLI waits for an answer, all re-sends included (B149).
pub const CLIENT_WAIT: Duration = Duration::from_secs(1);
/// When the CLI sends again, counted from its first datagram (B149).
pub const CLIENT_RESEND_AFTER: [Duration; 3] =
    [Duration::from_millis(150), Duration::from_millis(300), Duration::from_millis(600)];

const _: () =
    assert!(REPLY_BYTES_MAX >= 2 * (DOMAIN_BYTES_MAX + 7) + 5 + DOMAIN_BYTES_MAX, "`more` must make progress");
const _: () = assert!(CONTROL_TURN_MAX <= COMMIT_REQUESTS_MAX && COMMIT_REQUESTS_MAX <= CONTROL_QUEUE_MAX);
const _: () = assert!(COMMAND_BYTES_MAX > "list after ".len() + DOMAIN_BYTES_MAX);

// ---- Routes ------------------------------------------------------------------------------------------------------

/// Shards of the table. At 1,000,000 rules one holds about 244 and a change copies one (performance.md 3.6).
pub const ROUTE_SHARDS: usize = 4096;

/// Bytes of log from which on it may be replaced by a snapshot; below, reading it again costs nothing worth saving. Above,
/// it is replaced when it is larger than the snapshot, so that on average a byte is written twice.
pub const JOURNAL_LOG_BYTES: u64 = 1024 * 1024;
/// Logs that make a snapshot worth while whatever their size: each start begins a log, so many starts with a change between.
pub const JOURNAL_LOGS_MAX: usize = 16;
/// Damaged files of rules kept aside; beyond it the oldest goes (B194).
pub const JOURNAL_DAMAGED_MAX: usize = 8;

const _: () = assert!(ROUTE_SHARDS.is_power_of_two());

// ---- Requests and responses --------------------------------------------------------------------------------------

/// Bytes of a request head; beyond it 431 (B55).
pub const REQUEST_HEAD_BYTES_MAX: usize = 64 * 1024;
/// Fields of a request head; beyond it 431 (B55).
pub const REQUEST_FIELDS_MAX: usize = 256;
/// Bytes of a request target; beyond it 414 (B55).
pub const TARGET_BYTES_MAX: usize = 32 * 1024;
/// Bytes of a response head; beyond it 502 (B93).
pub const RESPONSE_HEAD_BYTES_MAX: usize = 256 * 1024;
/// Fields of a response head; beyond it 502 (B93).
pub const RESPONSE_FIELDS_MAX: usize = 256;
/// Bytes of chunk extensions in one body (B48).
pub const CHUNK_EXTENSION_BYTES_MAX: u64 = 16 * 1024;
/// Bytes of a trailer section (B48).
pub const TRAILER_BYTES_MAX: usize = 16 * 1024;
/// Bytes that one direction of a message holds at most (B54).
pub const RELAY_BYTES_MAX: usize = 64 * 1024;
/// Bytes that one read takes before a body is expected: most heads, and no more space than that to prepare.
pub const HEAD_READ_BYTES: usize = 2 * 1024;
/// Bytes of outside text shown on a page (B159).
pub const PAGE_QUOTE_BYTES_MAX: usize = 253;

/// The head of a request must be complete this long after its first byte (B132).
pub const HEAD_WAIT: Duration = Duration::from_secs(30);
/// A connection without a request is kept this long (B133).
pub const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// The window in which a client must make progress while hotcore waits for it (B136, B137).
pub const PROGRESS_WINDOW: Duration = Duration::from_secs(60);
/// Bytes per second that count as progress on average over [`PROGRESS_WINDOW`] (section 12 of the limits).
pub const PROGRESS_BYTES_PER_SECOND: u64 = 240;
/// Time limits are looked at this often; all of them are coarse (B152).
pub const SWEEP: Duration = Duration::from_millis(250);
/// After an early answer the rest of an upload is read and thrown away this long, so that the answer survives (B98).
pub const LINGER: Duration = Duration::from_secs(2);
/// ... and at most so many bytes (B98).
pub const LINGER_BYTES_MAX: usize = 1024 * 1024;

// ---- Backends ----------------------------------------------------------------------------------------------------

/// One attempt to connect (B18): loopback answers at once or not at all.
pub const CONNECT_WAIT: Duration = Duration::from_secs(2);
/// How long a request waits for a backend that has answered before: a usual restart of an app (B21).
pub const HOLD: Duration = Duration::from_secs(10);
/// The same for a port that has never answered: a mistyped port should show at once (B23).
pub const HOLD_UNPROVEN: Duration = Duration::from_secs(2);
/// When a refused port is tried again; the last figure repeats (B21).
pub const PROBE_AFTER: [Duration; 4] =
    [Duration::from_millis(50), Duration::from_millis(100), Duration::from_millis(200), Duration::from_millis(250)];
/// Requests that wait for one domain's backend; beyond it 503 (B24).
pub const HELD_PER_DOMAIN_MAX: u32 = 1_000;
/// Requests that wait in all (B24).
pub const HELD_MAX: u32 = 10_000;
/// Idle life of a connection to a backend: below every backend's own limit (B32).
pub const UPSTREAM_IDLE: Duration = Duration::from_millis(1_500);
/// Idle connections kept per port and worker (B33).
pub const UPSTREAM_IDLE_MAX: usize = 256;

const _: () = assert!(HOLD_UNPROVEN.as_secs() < HOLD.as_secs());

// ---- Tunnels -----------------------------------------------------------------------------------------------------

/// The client must take the 101 within this time (B110).
pub const UPGRADE_WAIT: Duration = Duration::from_secs(10);
/// A tunnel closed one way and silent the other way ends after this time (B113).
pub const HALF_CLOSED_WAIT: Duration = Duration::from_secs(60);
/// Bytes of a tunnel's buffer in one direction (B117).
pub const TUNNEL_BUFFER_BYTES: usize = 16 * 1024;
/// TCP keepalive on both legs: idle time before the first probe (B114).
pub const TCP_KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// ... the time between probes (B114).
pub const TCP_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// ... their number (B114).
pub const TCP_KEEPALIVE_PROBES: u32 = 4;
/// Unacknowledged data ends a connection after this time (B114; tcp(7), TCP_USER_TIMEOUT).
pub const TCP_USER_TIMEOUT: Duration = Duration::from_secs(120);

// ---- TLS ---------------------------------------------------------------------------------------------------------

/// ClientHello and handshake, from the accept on (B129).
pub const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);
/// A handshake waits so long for a first certificate whose order is in flight (B130).
pub const CERTIFICATE_WAIT: Duration = Duration::from_secs(10);
/// Handshakes of one worker that compute between two looks at its other sockets (performance.md 3.4).
pub const HANDSHAKES_COMPUTING_MAX: usize = 4;
/// Shards of the certificates; as for the rules, a change copies one.
pub const CERTIFICATE_SHARDS: usize = 4096;
/// Names that were asked for in vain and wait to be heard of; beyond it they are left out.
pub const CERTIFICATES_ASKED_MAX: usize = 256;
/// A key of session tickets seals for this long and then opens for as long again (B170).
pub const TICKET_KEY_LIFE: Duration = Duration::from_secs(12 * 3600);
/// Tickets sent after a TLS 1.3 handshake. Each is good for one connection, and browsers open several to a site at once. The second
/// costs 171 bytes, and less than the noise of a measurement (2,000 handshakes: 98 µs of the server with either number).
pub const TICKETS_PER_HANDSHAKE: usize = 2;

const _: () = assert!(CERTIFICATE_SHARDS.is_power_of_two());
const _: () = assert!(2 * TICKET_KEY_LIFE.as_secs() <= 7 * 24 * 3600, "no ticket lives longer (RFC 8446, 4.6.1)");

// ---- Sockets and the process -------------------------------------------------------------------------------------

/// Length of the accept queue; the kernel caps it at net.core.somaxconn.
pub const BACKLOG: i32 = 4096;
/// Connections accepted in one turn, so that a burst spreads over the workers.
pub const ACCEPTS_PER_TURN: usize = 8;
/// Pause after accept(2) ran out of descriptors or memory (B155).
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Descriptors kept back from connections: logs, state, control, listeners (B154).
pub const DESCRIPTORS_RESERVED: u64 = 256;
/// Requests in flight get this long when the service stops (B203).
pub const STOP_DRAIN: Duration = Duration::from_secs(3);
/// When the service stops, a connection just accepted waits so long for its request, which is on the way (B203).
pub const FRESH_GRACE: Duration = Duration::from_millis(250);
/// Requests in flight get this long after a hand-over (B207).
pub const HANDOVER_DRAIN: Duration = Duration::from_secs(30);
/// Tunnels and moving bodies get this long after a hand-over (B207).
pub const HANDOVER_TUNNELS: Duration = Duration::from_secs(3600);
/// A new generation must be ready within this time (B205).
pub const HANDOVER_WAIT: Duration = Duration::from_secs(15);
/// Workers at most; more than any machine has processors.
pub const WORKERS_MAX: usize = 1024;
/// An event that repeats is logged at once, then this often with its count (B219).
pub const LOG_REPEAT: Duration = Duration::from_secs(60);
/// Bytes of outside text in a log line (B216).
pub const LOG_QUOTE_BYTES_MAX: usize = 200;
/// Log records that wait for their sink; beyond it they are dropped and counted (B217).
pub const LOG_QUEUE_MAX: usize = 8_192;
/// Bytes of the message of a log line, without its fields: our own words with little of others' in them.
pub const LOG_MESSAGE_BYTES_MAX: usize = 1_024;
/// Fields of one log record.
pub const LOG_FIELDS_MAX: usize = 16;
/// Different lines whose repetition is remembered; beyond it the oldest is forgotten (B219).
pub const LOG_REPEATS_MAX: usize = 1_024;
/// Lines written at once after a quiet time, beyond the rate below (B219).
pub const LOG_BURST: u32 = 2_000;
/// Lines a second in the long run: 5,000 in 30 s, half of what makes journald drop a service's lines (B219).
pub const LOG_LINES_PER_SECOND: u32 = 100;
/// Bytes of the log file; then it becomes `hotcore.log.1` and a new one begins.
pub const LOG_FILE_BYTES_MAX: u64 = 10 * 1024 * 1024;
/// Bytes of lines gathered for one write to the log file.
pub const LOG_BUFFER_BYTES: usize = 64 * 1024;
/// One write to the journal may take this long, and so may the last lines at the end of the process (B221).
pub const LOG_FLUSH: Duration = Duration::from_secs(1);
/// Listening sockets of each kind (HTTP, HTTPS, control).
pub const SOCKETS_PER_KIND_MAX: usize = 16;
/// The loops of the control plane show this often that they turn, as the workers do (B213).
pub const HEARTBEAT: Duration = Duration::from_millis(250);
/// The line that `systemctl status` shows is renewed this often at most.
pub const STATUS_REFRESH: Duration = Duration::from_secs(5);
/// Workers that have not ended so long after their time is over are left behind: the process ends anyway.
pub const STOP_GRACE: Duration = Duration::from_millis(500);
/// The control loop has this long for its last commit when the service stops or passes the pen on (B206).
pub const COMMIT_WAIT: Duration = Duration::from_secs(5);
/// A second `serve` tries this long to reach the one that holds the state folder (B198).
pub const HANDOVER_REACH: Duration = Duration::from_secs(5);
/// A lock that a failed new generation left behind is asked for this often.
pub const LOCK_RETRY: Duration = Duration::from_millis(20);
/// A new generation that was told "no" lets go of the lock within this time; then it is killed (B205).
pub const LOCK_RETURN_WAIT: Duration = Duration::from_secs(2);
/// Rules to hotcore's own ports that `status` names (B30).
pub const OWN_PORT_RULES_SHOWN_MAX: usize = 8;
/// Bytes of one line between two generations.
pub const HANDOVER_LINE_BYTES_MAX: usize = 512;

const _: () = assert!(FRESH_GRACE.as_millis() < STOP_DRAIN.as_millis());
const _: () = assert!(STOP_DRAIN.as_secs() < HANDOVER_DRAIN.as_secs());
const _: () = assert!(HANDOVER_DRAIN.as_secs() < HANDOVER_TUNNELS.as_secs());
const _: () = assert!(LOG_LINES_PER_SECOND * 30 + LOG_BURST < 10_000, "journald drops beyond that (B219)");
const _: () = assert!(HEARTBEAT.as_millis() * 4 <= 1_000, "seen within a second");
const _: () = assert!(3 * SOCKETS_PER_KIND_MAX <= 253, "SCM_MAX_FD: descriptors in one message (unix(7))");
