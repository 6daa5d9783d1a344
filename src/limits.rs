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
/// A certificate that a person put in place is named when it ends within this time: getting another takes a person, too.
pub const OWN_CERTIFICATE_ENDS_SOON: Duration = Duration::from_secs(14 * 24 * 3600);
/// `hotcore status` looks for names that need attention this long: some 100,000 of them.
pub const STATUS_NAMES_WAIT: Duration = Duration::from_millis(500);
/// Names that need attention, as `hotcore status` shows them one by one.
pub const STATUS_NAMES_SHOWN_MAX: usize = 10;
/// Bytes of a reason in a line of `certs`: some of them are sentences of the CA.
pub const CERTIFICATE_REASON_BYTES_MAX: usize = 400;
/// How long `hotcore add` waits for the resolver before it says nothing about a local name: it is only a hint (B226).
pub const NAME_LOOK_UP_WAIT: Duration = Duration::from_secs(1);

const _: () =
    assert!(REPLY_BYTES_MAX >= 2 * (DOMAIN_BYTES_MAX + 7) + 5 + DOMAIN_BYTES_MAX, "`more` must make progress");
const _: () = assert!(
    DOMAIN_BYTES_MAX
        + " ordering 2027-01-01T00:00:00Z 2027-01-01T00:00:00Z ".len()
        + CERTIFICATE_REASON_BYTES_MAX
        + "\nmore ".len()
        + DOMAIN_BYTES_MAX
        <= REPLY_BYTES_MAX,
    "a line and `more` fit into a reply, so that each reply makes progress (B184)"
);
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
/// A warning that a stranger can cause is given again for the same name after this time (B175).
pub const REMINDER_EVERY: Duration = Duration::from_secs(3600);
/// Names that are remembered for it, and so the warnings in that time.
pub const REMINDERS_MAX: usize = 1024;
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

// ---- HTTP/2 ------------------------------------------------------------------------------------------------------

/// Streams of one connection at a time (B119): browsers open some six, and proxies before us up to a hundred.
pub const HTTP2_STREAMS_MAX: u32 = 100;
/// Requests of one connection that are being answered: those of its streams, and of streams that were cancelled a moment ago (B125).
pub const HTTP2_REQUESTS_MAX: usize = 2 * HTTP2_STREAMS_MAX as usize;
/// Bytes of a frame (RFC 9113, 4.2): the least that must be allowed, and all that a relay needs.
pub const HTTP2_FRAME_BYTES_MAX: u32 = 16 * 1024;
/// Bytes of upload that one connection can make us hold (B119).
pub const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// ... and one stream: one upload that nobody reads must not block its siblings (B119).
pub const HTTP2_STREAM_WINDOW_BYTES: u32 = 512 * 1024;
/// Bytes of an answer that wait for the window of one stream (B119).
pub const HTTP2_SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Bytes of an answer that are handed over at a time: a stream makes progress by such steps (B124).
pub const HTTP2_PIECE_BYTES: usize = 16 * 1024;
/// Streams that were cancelled before they were looked at (CVE-2023-44487, B120).
pub const HTTP2_PENDING_RESETS_MAX: usize = 20;
/// Streams of one connection that we had to reset for a fault of the client's (CVE-2025-8671, B121).
pub const HTTP2_FAULTS_MAX: usize = 64;
/// Cancelled streams of one connection, if they are more than half of all: beyond it the connection is ended (B120).
pub const HTTP2_CANCELLED_MAX: u64 = 100;
/// Frames of one connection that bring nothing forward (PING, SETTINGS, PRIORITY, WINDOW_UPDATE, RST_STREAM, empty DATA), in a
/// row; beyond it the connection is ended (B123). A thousand are a millisecond of a worker.
pub const HTTP2_IDLE_FRAMES_MAX: u32 = 1_000;
/// ... so many more are allowed each second ...
pub const HTTP2_IDLE_FRAMES_PER_SECOND: u32 = 100;
/// ... so many for each frame that brings something forward, either way ...
pub const HTTP2_IDLE_FRAMES_PER_FRAME: u32 = 4;
/// ... and one for so many bytes of an answer: some clients open their windows by 4 KiB, of the stream and of the connection.
pub const HTTP2_BYTES_PER_IDLE_FRAME: u32 = 1024;
/// Preface and SETTINGS must have come so long after the handshake (B131).
pub const HTTP2_PREFACE_WAIT: Duration = Duration::from_secs(10);
/// A connection without a stream is kept this long (B134).
pub const HTTP2_KEEP_ALIVE: Duration = Duration::from_secs(120);
/// After so much silence a ping is sent (B135) ...
pub const HTTP2_PING_AFTER: Duration = Duration::from_secs(30);
/// ... and must be answered within this time (B135).
pub const HTTP2_PING_WAIT: Duration = Duration::from_secs(20);
/// A connection that was told to end (GOAWAY) and has no stream and sends nothing is ended after this time (B127): a client that
/// does not answer the ping in between.
pub const HTTP2_GOAWAY_WAIT: Duration = Duration::from_secs(5);

const _: () = assert!(HTTP2_STREAM_WINDOW_BYTES < HTTP2_CONNECTION_WINDOW_BYTES, "siblings have room");
const _: () =
    assert!(HTTP2_PIECE_BYTES as u64 >= PROGRESS_BYTES_PER_SECOND * PROGRESS_WINDOW.as_secs(), "a piece is progress");
const _: () =
    assert!(HTTP2_PIECE_BYTES <= HTTP2_FRAME_BYTES_MAX as usize && HTTP2_PIECE_BYTES <= HTTP2_SEND_BUFFER_BYTES);
const _: () = assert!(HTTP2_REQUESTS_MAX as u64 > HTTP2_CANCELLED_MAX);

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

// ---- The schedule of certificates --------------------------------------------------------------------------------

/// Orders, with the look-ups before them, under way at a time: enough for one per nonce that Let's Encrypt gives out a
/// second, and few enough that a burst of names is no burst for the CA.
pub const ORDERS_IN_FLIGHT_MAX: usize = 8;
/// New orders per account: Let's Encrypt allows 300, and one more per 36 s. 95 % of it, so that rounding, a restored
/// backup or a second program with the same account does not break it.
pub const ORDERS_BURST: u64 = 285;
/// See [`ORDERS_BURST`].
pub const ORDERS_EVERY: Duration = Duration::from_secs(37);
/// Failed authorisations per name: the CA allows 5, and one more per 12 min.
pub const FAILURES_BURST: u64 = 4;
/// See [`FAILURES_BURST`].
pub const FAILURES_EVERY: Duration = Duration::from_secs(15 * 60);
/// Certificates for one exact set of names: the CA allows 5, and one more per 34 h, without exception.
pub const EXACT_SET_BURST: u64 = 4;
/// See [`EXACT_SET_BURST`]; a quarter of the life of a certificate if that is shorter (a CA for tests).
pub const EXACT_SET_EVERY: Duration = Duration::from_secs(36 * 3600);
/// Failures in a row per name: the CA pauses a name at 1,152, one forgiven a day, until a person lifts it.
pub const CONSECUTIVE_FAILURES_BURST: u64 = 1_000;
/// See [`CONSECUTIVE_FAILURES_BURST`].
pub const CONSECUTIVE_FAILURES_EVERY: Duration = Duration::from_secs(25 * 3600);
/// Tries that a changed answer of the name service may bring forward: some answers change each time they are asked for.
pub const ADDRESS_WAKES_BURST: u64 = 4;
/// See [`ADDRESS_WAKES_BURST`].
pub const ADDRESS_WAKES_EVERY: Duration = Duration::from_secs(6 * 3600);
/// When a name is tried again after its first, second and third failure, and after each further one (the CA's advice).
pub const RETRY_AFTER: [Duration; 4] = [
    Duration::from_secs(60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(100 * 60),
    Duration::from_secs(24 * 3600),
];
/// Those times are longer or shorter by up to this part, so that what failed together is not tried together.
pub const RETRY_JITTER: u64 = 10;
/// All orders wait this long after trouble of the CA; twice as long each further time ...
pub const CA_PAUSE: Duration = Duration::from_secs(60);
/// ... and at most this long.
pub const CA_PAUSE_MAX: Duration = Duration::from_secs(3600);
/// A refusal for a limit that says no time.
pub const RATE_LIMITED_PAUSE: Duration = Duration::from_secs(3600);
/// No time to wait, whether asked for (RFC 8555, 6.6) or read from disk, is longer: a clock that was once wrong, or a CA's slip,
/// must not silence a name for years. The CA's longest window.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Registered domains whose limit was met; beyond it the one that ends first is forgotten.
pub const LIMITED_DOMAINS_MAX: usize = 1_000;
/// The CA forgot the account: the same key is registered again this often at most (it allows 10 in that time).
pub const REGISTER_EVERY: Duration = Duration::from_secs(3 * 3600);
/// The CA wants a person to act on the account: it is asked again this often at most.
pub const ACCOUNT_STOPPED_PAUSE: Duration = Duration::from_secs(24 * 3600);
/// Bytes that must find room in the state folder before an order begins, so that nothing signed is lost for want of room: key and
/// chain of a few certificates.
pub const STORE_ROOM_BYTES: usize = 64 * 1024;
/// How long it counts that they did.
pub const STORE_ROOM_AGAIN: Duration = Duration::from_secs(60);
/// A state folder that cannot be written: no order, asked again after this time.
pub const STORE_PAUSE: Duration = Duration::from_secs(60);
/// Certificates that live shorter are renewed at half of their life, others when a third is left.
pub const SHORT_LIFE: Duration = Duration::from_secs(10 * 24 * 3600);
/// Renewals come earlier by up to this part of the life, each by its own.
pub const RENEWAL_JITTER: u64 = 24;
/// Renewals of certificates that end so soon come before all others.
pub const RENEWAL_URGENT: Duration = Duration::from_secs(3 * 24 * 3600);
/// Readings of renewal information under way at a time.
pub const WINDOWS_IN_FLIGHT_MAX: usize = 4;
/// The CA says when to ask for renewal information again; if not, after this (RFC 9773, 4.3.2).
pub const WINDOW_AGAIN: Duration = Duration::from_secs(6 * 3600);
/// ... never earlier than this ...
pub const WINDOW_AGAIN_MIN: Duration = Duration::from_secs(3600);
/// ... and never later.
pub const WINDOW_AGAIN_MAX: Duration = Duration::from_secs(24 * 3600);
/// Look-ups of names under way at a time: each keeps a thread until the resolver gives up (B174).
pub const LOOK_UPS_IN_FLIGHT_MAX: usize = 4;
/// Look-ups begun in one second.
pub const LOOK_UPS_PER_SECOND: usize = 10;
/// The name service has this long for one answer.
pub const LOOK_UP_WAIT: Duration = Duration::from_secs(5);
/// An answer of the name service is good for an order this long.
pub const LOOK_UP_LIFE: Duration = Duration::from_secs(5 * 60);
/// A name that waits is looked up again: below each age this often.
pub const LOOK_UP_AGAIN: [(Duration, Duration); 4] = [
    (Duration::from_secs(3600), Duration::from_secs(60)),
    (Duration::from_secs(24 * 3600), Duration::from_secs(5 * 60)),
    (Duration::from_secs(7 * 24 * 3600), Duration::from_secs(3600)),
    (Duration::MAX, Duration::from_secs(6 * 3600)),
];
/// The wall clock may differ so much from the CA's; beyond it nothing is ordered (B214).
pub const CLOCK_ERROR_MAX: Duration = Duration::from_secs(3600);
/// A wall clock that moves so much against the steady one was set, or the machine slept: it is compared again.
pub const CLOCK_JUMP: Duration = Duration::from_secs(60);
/// Nothing is ordered while the clock is before this date (2026-11-01, seconds since 1970): hotcore did not exist then. Raised
/// with each release; a constant, so that a build can be repeated.
pub const CLOCK_EARLIEST: u64 = 1_793_491_200;
/// Nor so long after it.
pub const CLOCK_LATEST_AFTER: Duration = Duration::from_secs(50 * 365 * 24 * 3600);
/// The CA's directory is read again so often: its clock and what it offers.
pub const DIRECTORY_AGAIN: Duration = Duration::from_secs(24 * 3600);
/// ... and as long as the clocks differ.
pub const DIRECTORY_AGAIN_WRONG: Duration = Duration::from_secs(5 * 60);
/// ... and never more often than this, however the clock jumps.
pub const DIRECTORY_AGAIN_MIN: Duration = Duration::from_secs(60);
/// The longest sleep of who drives the schedule: a clock that was set is seen at once (B214).
pub const SCHEDULE_WAIT_MAX: Duration = Duration::from_secs(30);
/// Bytes kept of the reason of a failure.
pub const REASON_BYTES_MAX: usize = 300;
/// Bytes of one record of the schedule on disk: a name, a dozen figures, a reason. The budget's is larger by its domains.
pub const SCHEDULE_RECORD_BYTES_MAX: usize = 4 * 1024 + LIMITED_DOMAINS_MAX * (DOMAIN_BYTES_MAX + 30);

const _: () = assert!(ORDERS_BURST < 300 && ORDERS_EVERY.as_secs() > 36, "below the CA's limit");
const _: () = assert!(FAILURES_BURST < 5 && FAILURES_EVERY.as_secs() > 12 * 60, "below the CA's limit");
const _: () = assert!(EXACT_SET_BURST < 5 && EXACT_SET_EVERY.as_secs() > 34 * 3600, "below the CA's limit");
const _: () = assert!(CONSECUTIVE_FAILURES_BURST < 1_152 && CONSECUTIVE_FAILURES_EVERY.as_secs() > 24 * 3600);
const _: () = assert!(SCHEDULE_WAIT_MAX.as_secs() < CLOCK_JUMP.as_secs(), "two looks never span a jump unseen");

// ---- Certificates on disk ----------------------------------------------------------------------------------------

/// Bytes of a file with a key and its chain: a chain takes some 8,000, one of a person perhaps more.
pub const CERTIFICATE_FILE_BYTES_MAX: usize = 256 * 1024;
/// Certificates of one chain.
pub const CERTIFICATE_CHAIN_MAX: usize = 10;
/// A fresh certificate may begin so much later than our clock says: the CA's may be ahead.
pub const CERTIFICATE_EARLY: Duration = Duration::from_secs(5 * 60);
/// Bytes of a name that are its file's name as they are; longer ones are cut and carry a hash. A file name has at most 255.
pub const FILE_NAME_DOMAIN_BYTES_MAX: usize = 200;

const _: () = assert!(FILE_NAME_DOMAIN_BYTES_MAX + 1 + 32 + "_previous.pem~".len() <= 255);

// ---- The keeper of certificates ----------------------------------------------------------------------------------

/// Names that wait for their first certificate and that the schedule knows: each takes some 600 bytes there and a look-up now and
/// then. More than the CA lets begin in three days; the others follow as room gets free.
pub const FIRST_NAMES_MAX: usize = 10_000;
/// Names beyond that which somebody asks for: they do not wait for room.
pub const ASKED_NAMES_MAX: usize = 1_000;
/// The table is looked through for names that wait for room this often at most: a million rules take some 100 ms.
pub const NAMES_AGAIN: Duration = Duration::from_secs(60);
/// Where others wait for room, names that have no address or have failed give theirs away after this time.
pub const NAMES_TURN: Duration = Duration::from_secs(3600);
/// Names shown to people whose certificate is not ordered here: local ones, and all of them where no CA is asked.
pub const UNORDERED_NAMES_SHOWN_MAX: usize = 10_000;
/// Everything that is shown to people about certificates is renewed this often: places in the queue move by themselves.
pub const BOARD_REFRESH: Duration = Duration::from_secs(30);
/// Sentences about damaged files that are shown; the log has them all.
pub const BOARD_DAMAGES_MAX: usize = 8;
/// Names that were asked for in vain are heard this often at most: strangers ask.
pub const ASKED_PAUSE: Duration = Duration::from_millis(50);
/// Threads that may hang in the name service or the disk: the look-ups of names and of the CA, one for the disk, and a few more.
pub const KEEPER_THREADS_MAX: usize = LOOK_UPS_IN_FLIGHT_MAX + CA_LOOKUPS_MAX + 8;
/// What the keeper still waits for when it is told to stop: the disk.
pub const KEEPER_STOP_WAIT: Duration = Duration::from_millis(500);
/// Threads that hang are left behind after this time.
pub const KEEPER_THREADS_WAIT: Duration = Duration::from_millis(100);
/// The disk has this long to take a certificate; then it serves from memory, and the disk is asked again.
pub const CERTIFICATE_SAVE_WAIT: Duration = Duration::from_secs(30);
/// The disk has this long to take the schedule's records. Then nothing is ordered, and it is left alone for [`STORE_PAUSE`]: the
/// keeper does not stand still for it.
pub const RECORDS_SAVE_WAIT: Duration = Duration::from_secs(10);
/// Names whose files are read at a time because a person wishes it; the other wishes wait, up to [`CERTIFICATE_WISHES_MAX`].
pub const WISHES_AT_ONCE: usize = 2;
/// A refresh of the whole board that takes long is followed by a pause that is so many times as long.
pub const BOARD_PAUSE: u32 = 20;
/// Failures to finish an interrupted order before it is given up for a new one.
pub const PENDING_FAILURES_MAX: u32 = 3;
/// People are warned this often of a certificate of their own that ends soon ([`OWN_CERTIFICATE_ENDS_SOON`]), and of a renewal
/// that fails (B171).
pub const WARNING_AGAIN: Duration = Duration::from_secs(24 * 3600);
/// What may need a warning is looked for this often.
pub const WARNING_LOOK: Duration = Duration::from_secs(3600);

const _: () =
    assert!(KEEPER_STOP_WAIT.as_millis() + KEEPER_THREADS_WAIT.as_millis() < 1_000, "it ends within a second");

// ---- Certificates of local names ---------------------------------------------------------------------------------

/// One call of mkcert (B224); one takes some 50 ms.
pub const MKCERT_WAIT: Duration = Duration::from_secs(20);
/// A process group that was killed is waited for so long; then it is the system's.
pub const MKCERT_KILL_WAIT: Duration = Duration::from_secs(1);
/// Bytes that it may say, on each of both ways: it says some 400.
pub const MKCERT_OUTPUT_BYTES_MAX: usize = 16 * 1024;
/// The first user id of a person on Linux (login.defs(5), UID_MIN); those below are root's and services'.
pub const PERSON_UID_MIN: u32 = 1_000;
/// Local names that are given certificates because they are mapped: one each 50 ms, so that all have theirs within ten minutes.
/// Beyond it, and by [`ASKED_NAMES_MAX`] more at most, a name gets one when somebody asks for it.
pub const LOCAL_NAMES_MAX: usize = 10_000;
/// When mkcert is tried again for a name after its first and second failure, and after each further one: its trouble is one
/// of the machine, and each try runs a program.
pub const LOCAL_RETRY_AFTER: [Duration; 3] =
    [Duration::from_secs(60), Duration::from_secs(10 * 60), Duration::from_secs(3600)];

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
/// One worker passes on a name that plain HTTP asks for without a certificate this often ...
pub const CERTIFICATE_ASK_EVERY: Duration = Duration::from_secs(1);
/// ... and so many names in that time; the others when their clients come again.
pub const CERTIFICATES_WANTED_MAX: usize = 64;
/// Names that a person wants tried now and that wait for it; beyond it the wish is refused.
pub const CERTIFICATE_WISHES_MAX: usize = 256;
/// `hotcore cert` waits so long until the daemon serves the certificate: it looks at once, and tens of thousands of names take a
/// second.
pub const CERTIFICATE_TAKEN_WAIT: Duration = Duration::from_secs(2);
/// A key of session tickets seals for this long and then opens for as long again (B170).
pub const TICKET_KEY_LIFE: Duration = Duration::from_secs(12 * 3600);
/// Tickets sent after a TLS 1.3 handshake. Each is good for one connection, and browsers open several to a site at once. The second
/// costs 171 bytes, and less than the noise of a measurement (2,000 handshakes: 98 µs of the server with either number).
pub const TICKETS_PER_HANDSHAKE: usize = 2;

const _: () = assert!(CERTIFICATES_WANTED_MAX < CERTIFICATES_ASKED_MAX, "room is left for handshakes");
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
/// `hotcore serve --hand-over` waits this long for the outcome; below what systemd waits for a reload.
pub const RELOAD_WAIT: Duration = Duration::from_secs(30);
/// Processes at a time, the one that serves and those that drain; beyond it the oldest is cut.
pub const GENERATIONS_MAX: usize = 4;
/// A new generation that was told to serve accepts and reads within this time, or is taken for lost.
pub const HANDOVER_READY_WAIT: Duration = Duration::from_secs(5);
/// What starts a new generation ends within this time after it has closed its channel.
pub const STARTER_WAIT: Duration = Duration::from_millis(100);
/// Those who knock at the door and have not said what they want: beyond it others wait in the kernel's queue.
pub const KNOCKS_MAX: usize = 8;
/// Who knocks says within this time what it wants: it is one line, written at once.
pub const KNOCK_WAIT: Duration = Duration::from_secs(1);
/// A reload that failed is shown as a problem for this long, unless another one succeeds.
pub const RELOAD_FAILURE_SHOWN: Duration = Duration::from_secs(24 * 3600);
/// A connection to ourselves is made within this time; then it counts as failed (B213).
pub const PROBE_WAIT: Duration = Duration::from_secs(1);
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
/// The keeper of certificates has this long to rest when the service stops or passes the pen on (B206).
pub const KEEPER_WAIT: Duration = Duration::from_secs(2);
/// A second `serve` tries this long to reach the one that holds the state folder (B198).
pub const HANDOVER_REACH: Duration = Duration::from_secs(5);
/// A lock that a failed new generation left behind is asked for this often.
pub const LOCK_RETRY: Duration = Duration::from_millis(20);
/// A new generation that was told "no" lets go of the lock within this time; then it is killed (B205).
pub const LOCK_RETURN_WAIT: Duration = Duration::from_secs(2);
/// Rules to hotcore's own ports that are looked for at the start, and named (B30).
pub const OWN_PORT_RULES_SHOWN_MAX: usize = 8;
/// Problems that `status` shows one by one: beside so many the other facts fit into a reply.
pub const STATUS_PROBLEMS_SHOWN_MAX: usize = 3;
/// Bytes of one line between two generations.
pub const HANDOVER_LINE_BYTES_MAX: usize = 512;

const _: () = assert!(
    HANDOVER_WAIT.as_secs() + KEEPER_WAIT.as_secs() + COMMIT_WAIT.as_secs() + HANDOVER_READY_WAIT.as_secs()
        < RELOAD_WAIT.as_secs(),
    "the outcome is known before nobody waits for it any more"
);
const _: () = assert!(FRESH_GRACE.as_millis() < STOP_DRAIN.as_millis());
const _: () = assert!(STOP_DRAIN.as_secs() < HANDOVER_DRAIN.as_secs());
const _: () = assert!(HANDOVER_DRAIN.as_secs() < HANDOVER_TUNNELS.as_secs());
const _: () = assert!(LOG_LINES_PER_SECOND * 30 + LOG_BURST < 10_000, "journald drops beyond that (B219)");
const _: () = assert!(HEARTBEAT.as_millis() * 4 <= 1_000, "seen within a second");
const _: () = assert!(3 * SOCKETS_PER_KIND_MAX <= 253, "SCM_MAX_FD: descriptors in one message (unix(7))");

// ---- Certificates ------------------------------------------------------------------------------------------------

/// One request to the CA, from the look-up of its name to the last byte of its answer.
pub const CA_STEP_WAIT: Duration = Duration::from_secs(30);
/// One attempt to connect to one address of the CA: the next address must have its turn within a step.
pub const CA_CONNECT_WAIT: Duration = Duration::from_secs(5);
/// A whole order, from its creation to the certificate.
pub const CA_ORDER_WAIT: Duration = Duration::from_secs(600);
/// The CA has this long to look at our answer to its challenge.
pub const CA_VALIDATION_WAIT: Duration = Duration::from_secs(60);
/// The CA has this long to sign.
pub const CA_ISSUANCE_WAIT: Duration = Duration::from_secs(300);
/// Pauses between two looks at an authorisation or an order; the last one repeats.
pub const CA_POLL_AFTER: [Duration; 5] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(3),
    Duration::from_secs(5),
];
/// A CA that asks for more than this between two looks is asked again after this.
pub const CA_POLL_AFTER_MAX: Duration = Duration::from_secs(60);
/// Looks in a row that may fail before the order does: the certificate behind them is worth a second try.
pub const CA_POLL_FAILURES_MAX: u32 = 3;
/// Our own look at the answer to a challenge, over loopback, before the CA is asked to look.
pub const REHEARSAL_WAIT: Duration = Duration::from_secs(5);
/// Bytes of that look: the answer is a key authorisation of some 90.
pub const REHEARSAL_BYTES_MAX: usize = 16 * 1024;
/// Bytes of an answer of the CA: a chain of certificates takes some 8,000.
pub const CA_ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Bytes of the head of an answer of the CA.
pub const CA_HEAD_BYTES_MAX: usize = 32 * 1024;
/// Bytes of a URL that the CA gives or is found at.
pub const CA_URL_BYTES_MAX: usize = 2_048;
/// Bytes of the file with the roots that a CA of one's own is trusted by: all roots of the web take some 230,000.
pub const CA_ROOT_BYTES_MAX: u64 = 1024 * 1024;
/// Bytes of a nonce: those of Let's Encrypt have some 45.
pub const CA_NONCE_BYTES_MAX: usize = 512;
/// Bytes of a challenge's token: 128 bits at least make 22 (RFC 8555, 8.3); it becomes part of a path.
pub const CA_TOKEN_BYTES_MAX: usize = 256;
/// Certificates in a chain.
pub const CA_CHAIN_MAX: usize = 10;
/// Bytes kept of a sentence of the CA.
pub const CA_DETAIL_BYTES_MAX: usize = 512;
/// Look-ups of the CA's name at a time: each keeps a thread until the resolver gives up (B174).
pub const CA_LOOKUPS_MAX: usize = 4;
/// Addresses of the CA that are tried.
pub const CA_ADDRESSES_MAX: usize = 8;
/// How often a request is made again because of its nonce alone (RFC 8555, 6.5): a CA that refuses every second one
/// then costs one order in a million, and what it costs in time is bounded by [`CA_STEP_WAIT`].
pub const CA_NONCE_TRIES: u32 = 20;
/// ... the first of them at once, the others after [`CA_NONCE_PAUSE`].
pub const CA_NONCE_TRIES_AT_ONCE: u32 = 3;
/// See [`CA_NONCE_TRIES_AT_ONCE`].
pub const CA_NONCE_PAUSE: Duration = Duration::from_secs(1);
/// Nonces kept from answers for later requests: twice as many as orders in flight.
pub const CA_NONCES_KEPT: usize = 16;
/// A nonce older than this is not tried: CAs forget them.
pub const CA_NONCE_LIFE: Duration = Duration::from_secs(60);
/// New nonces are asked for no closer together: Let's Encrypt allows 20 a second.
pub const CA_NONCE_SPACING: Duration = Duration::from_millis(56);
/// The directory of the CA is read again after this time.
pub const CA_DIRECTORY_LIFE: Duration = Duration::from_secs(24 * 3600);

/// The oldest systemd that knows all that the units say: that of Debian 12 and RHEL 9.
pub const SYSTEMD_MIN: u32 = 252;
/// What an install gives the program's file, as setcap(8) writes it: for a start by hand, as the service gets its sockets passed in.
pub const CAPABILITY_TEXT: &str = "cap_net_bind_service=+eip";
/// How long an install waits for a program of the system. systemctl itself waits for a start, 60 s by the unit.
pub const INSTALL_TOOL_WAIT: Duration = Duration::from_secs(120);
/// How long an install waits until the service that it started answers: it is ready when systemctl returns.
pub const INSTALL_ANSWER_WAIT: Duration = Duration::from_secs(10);
/// The pause between two questions meanwhile.
pub const INSTALL_ANSWER_PAUSE: Duration = Duration::from_millis(50);

const _: () = assert!(CA_CONNECT_WAIT.as_secs() * 4 < CA_STEP_WAIT.as_secs(), "several addresses have their turn");
const _: () = assert!(CA_VALIDATION_WAIT.as_secs() + CA_ISSUANCE_WAIT.as_secs() < CA_ORDER_WAIT.as_secs());
const _: () = assert!(CA_NONCE_TRIES_AT_ONCE < CA_NONCE_TRIES);
const _: () = assert!(CA_NONCE_SPACING.as_millis() * 18 >= 1_000, "at most 18 a second");
