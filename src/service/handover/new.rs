//! The new one's side of the channel. It waits where it stands: nothing else depends on it yet.

use std::{
    fmt,
    fs::File,
    io::{self, IoSliceMut, Write as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    time::{Duration, Instant},
};

use nix::{
    sys::socket::{
        AddressFamily, SockaddrLike as _, SockaddrStorage, getsockname, getsockopt, sockopt::PeerCredentials,
    },
    unistd::dup2_stdin,
};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::{
    generations::Generations,
    machine::{NewAction, NewStep},
    message::{FromNew, FromOld, VERSION},
    path,
};
use crate::{limits, service::sockets::Offered};

/// Room for the descriptors of one message.
pub(super) const RIGHTS_BYTES: usize =
    rustix::cmsg_space!(ScmRights(3 * limits::SOCKETS_PER_KIND_MAX + limits::GENERATIONS_MAX));

/// How long the old one may take for a step: it decides first what becomes of a hand-over that hangs.
const WAIT: Duration = limits::HANDOVER_WAIT.saturating_add(limits::COMMIT_WAIT);

/// A process that is about to take over.
#[derive(Debug)]
pub struct New {
    stream: UnixStream,
    step: NewStep,
    unread: Vec<u8>,
    received: Vec<OwnedFd>,
    /// Channels to generations that drain, the oldest first.
    draining: Vec<UnixStream>,
    /// The old one is gone: the lock says who serves.
    is_alone: bool,
    process: u32,
}

impl New {
    /// Knocks at the door of the process that runs on `folder`.
    pub fn connect(folder: &Path) -> Result<Self, AskError> {
        path::connect(folder, path::NAME).map(Self::on).map_err(AskError::Nobody)
    }

    /// Takes standard input as the channel, as the running process has left it (see [`super::successor`]), and puts /dev/null in
    /// its place.
    pub fn from_stdin() -> Result<Self, AskError> {
        let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(AskError::Channel)?;
        let family = getsockname::<SockaddrStorage>(std::os::fd::AsRawFd::as_raw_fd(&stdin)).ok();
        if family.and_then(|address| address.family()) != Some(AddressFamily::Unix) {
            return Err(AskError::Nobody(io::Error::other("standard input is no channel to it")));
        }
        let nothing = File::open("/dev/null").map_err(AskError::Channel)?;
        dup2_stdin(nothing).map_err(|errno| AskError::Channel(errno.into()))?;
        let stream = UnixStream::from(stdin);
        stream.set_nonblocking(false).map_err(AskError::Channel)?;
        Ok(Self::on(stream))
    }

    fn on(stream: UnixStream) -> Self {
        // Of a socket pair, the kernel names who has made it: the old one as well.
        let process = getsockopt(&stream, PeerCredentials).map_or(0, |credentials| credentials.pid());
        Self {
            stream,
            step: NewStep::default(),
            unread: Vec::new(),
            received: Vec::new(),
            draining: Vec::new(),
            is_alone: false,
            process: u32::try_from(process).unwrap_or(0),
        }
    }

    /// Asks for the sockets.
    pub fn ask(&mut self) -> Result<Vec<Offered>, AskError> {
        self.say(&FromNew::Ask { version: VERSION, process: std::process::id() });
        let (kinds, draining) = match self.next_action()? {
            NewAction::WarmUp { kinds, draining } => (kinds, draining),
            NewAction::End(why) if !self.is_alone => return Err(AskError::Refused(why)),
            // It ended between the knock and the answer.
            _ => return Err(AskError::Nobody(io::ErrorKind::UnexpectedEof.into())),
        };
        let mut fds = std::mem::take(&mut self.received);
        if fds.len() != kinds.len() + draining {
            let named = kinds.len() + draining;
            return Err(AskError::Refused(format!("it sent {} sockets and named {named}", fds.len())));
        }
        self.draining = fds.drain(kinds.len()..).map(UnixStream::from).collect();
        Ok(kinds.into_iter().zip(fds).map(|(kind, fd)| Offered::from_generation(kind, fd)).collect())
    }

    /// The process id of the old one.
    pub fn process(&self) -> u32 {
        self.process
    }

    /// Says that the rules are read, and waits for the pen. Afterwards the lock is free, or about to be.
    pub fn wait_for_pen(&mut self) -> Result<(), AskError> {
        self.say(&FromNew::Loaded);
        match self.next_action()? {
            NewAction::TakePen => Ok(()),
            NewAction::End(why) => Err(AskError::Refused(why)),
            NewAction::WarmUp { .. } | NewAction::Serve => Err(AskError::Refused("it is out of step".to_owned())),
        }
    }

    /// Says that the lock is taken and all changes are known, and waits for the word to serve. The answer are the generations
    /// before this one.
    pub fn wait_for_word(mut self) -> Result<Generations, AskError> {
        self.say(&FromNew::Serving);
        match self.next_action()? {
            NewAction::Serve => {
                let predecessor = (!self.is_alone).then_some(self.stream);
                if let Some(stream) = &predecessor {
                    stream.set_nonblocking(true).map_err(AskError::Channel)?;
                }
                Ok(Generations::new(self.draining, predecessor))
            }
            NewAction::End(why) => Err(AskError::Refused(why)),
            NewAction::WarmUp { .. } | NewAction::TakePen => Err(AskError::Refused("it is out of step".to_owned())),
        }
    }

    /// Says why it cannot take over. The old one goes on.
    pub fn fail(mut self, why: &str) {
        self.say(&FromNew::Failed(why.to_owned()));
    }

    /// One that does not take the word is gone, which shows at the next read.
    pub(super) fn say(&mut self, word: &FromNew) {
        let _ = self.stream.write_all(format!("{word}\n").as_bytes());
    }

    fn next_action(&mut self) -> Result<NewAction, AskError> {
        let word = if self.is_alone { None } else { self.read_word(Instant::now() + WAIT)? };
        self.is_alone |= word.is_none();
        Ok(self.step.hear(word))
    }

    /// `None`: the old one is gone.
    pub(super) fn read_word(&mut self, deadline: Instant) -> Result<Option<FromOld>, AskError> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                let text = line.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
                let word = text.and_then(FromOld::parse);
                return word.map(Some).ok_or_else(|| AskError::Refused("it does not speak this protocol".to_owned()));
            }
            if self.unread.len() >= limits::HANDOVER_LINE_BYTES_MAX {
                return Err(AskError::Refused("it does not speak this protocol".to_owned()));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(AskError::Silent);
            }
            self.stream.set_read_timeout(Some(left)).map_err(AskError::Channel)?;
            match self.receive() {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {}
                    io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => return Ok(None),
                    _ => return Err(AskError::Channel(error)),
                },
            }
        }
    }

    fn receive(&mut self) -> io::Result<usize> {
        let mut bytes = [0; limits::HANDOVER_LINE_BYTES_MAX];
        let mut room = [MaybeUninit::uninit(); RIGHTS_BYTES];
        let mut rights = RecvAncillaryBuffer::new(&mut room);
        let message = recvmsg(&self.stream, &mut [IoSliceMut::new(&mut bytes)], &mut rights, RecvFlags::CMSG_CLOEXEC)?;
        for part in rights.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = part {
                self.received.extend(fds);
            }
        }
        self.unread.extend(bytes.iter().take(message.bytes));
        Ok(message.bytes)
    }
}

/// Why the sockets cannot be had.
#[derive(Debug)]
pub enum AskError {
    /// Nobody answers at the door.
    Nobody(io::Error),
    /// The old one goes on with everything; why.
    Refused(String),
    /// The old one did not answer in time.
    Silent,
    /// The channel failed.
    Channel(io::Error),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody(error) => write!(f, "the running process cannot be reached: {error}"),
            Self::Refused(why) => write!(f, "the running process goes on: {why}"),
            Self::Silent => f.write_str("the running process does not answer: end it, then start again"),
            Self::Channel(error) => write!(f, "cannot talk to the running process: {error}"),
        }
    }
}

impl std::error::Error for AskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Nobody(error) | Self::Channel(error) => Some(error),
            Self::Refused(_) | Self::Silent => None,
        }
    }
}
