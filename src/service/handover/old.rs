//! The old one's side of the channel: a door that others knock at, and the one that was let in.

use std::{
    fs, io,
    io::IoSlice,
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::fs::PermissionsExt as _,
    },
    path::{Path, PathBuf},
};

use nix::{
    sys::{
        signal::{Signal, kill},
        socket::{getsockopt, sockopt::PeerCredentials},
    },
    unistd::{Pid, geteuid},
};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::{
    io::Interest,
    net::{UnixListener, UnixStream},
};

use super::{
    machine::Heard,
    message::{FromNew, FromOld},
    path,
};
use crate::{
    limits,
    service::sockets::{Kind, Sockets},
};

/// The socket in the state folder. Only who has the folder's lock opens it.
#[derive(Debug)]
pub struct Doorway {
    listener: UnixListener,
    path: PathBuf,
}

impl Doorway {
    /// Puts the socket into `folder`, in place of one that another generation left. Needs the reactor of a runtime.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let fresh = format!("{}.new", path::NAME);
        match fs::remove_file(folder.join(&fresh)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = path::bind(folder, &fresh)?;
        fs::set_permissions(folder.join(&fresh), fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        fs::rename(folder.join(&fresh), folder.join(path::NAME))?;
        Ok(Self { listener: UnixListener::from_std(listener)?, path: folder.join(path::NAME) })
    }

    /// Somebody who may ask: the same user, or root. Others are turned away with a word.
    pub async fn next(&self) -> io::Result<Peer> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            let Ok(credentials) = getsockopt(&stream, PeerCredentials) else { continue };
            let mut peer = Peer { stream, process: u32::try_from(credentials.pid()).unwrap_or(0), unread: Vec::new() };
            if credentials.uid() == 0 || credentials.uid() == geteuid().as_raw() {
                return Ok(peer);
            }
            let why = "the running process belongs to another user: use sudo, or another folder with --state";
            peer.say(&FromOld::No(why.to_owned()));
        }
    }

    /// Takes the socket away: nobody is there any more who could answer.
    pub fn close(self) {
        let _ = fs::remove_file(self.path);
    }
}

/// Who wants to take over.
#[derive(Debug)]
pub struct Peer {
    stream: UnixStream,
    process: u32,
    unread: Vec<u8>,
}

impl Peer {
    /// Its process id, as the kernel knows it.
    pub fn process(&self) -> u32 {
        self.process
    }

    /// The next line, or that there will be none. Nothing is lost if it is dropped half-way.
    pub async fn hear(&mut self) -> Heard {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                let text = line.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
                return Heard::Word(text.and_then(FromNew::parse));
            }
            if self.unread.len() >= limits::HANDOVER_LINE_BYTES_MAX {
                return Heard::Word(None);
            }
            if self.stream.readable().await.is_err() {
                return Heard::Gone;
            }
            let mut room = [0; limits::HANDOVER_LINE_BYTES_MAX];
            match self.stream.try_read(&mut room) {
                Ok(0) => return Heard::Gone,
                Ok(count) => self.unread.extend(room.iter().take(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Heard::Gone,
            }
        }
    }

    /// Says a word. One that the other does not take is lost; that it is gone shows in [`Peer::hear`].
    pub fn say(&mut self, word: &FromOld) {
        let _ = self.stream.try_write(format!("{word}\n").as_bytes());
    }

    /// Sends the listening sockets, with what they are for.
    pub fn send(&mut self, sockets: &Sockets) -> io::Result<()> {
        let mut kinds = Vec::new();
        let mut fds: Vec<BorrowedFd<'_>> = Vec::new();
        for (kind, listeners) in [(Kind::Http, &sockets.http), (Kind::Https, &sockets.https)] {
            kinds.extend(listeners.iter().map(|_| kind));
            fds.extend(listeners.iter().map(|socket| socket.as_fd()));
        }
        kinds.extend(sockets.control.iter().map(|_| Kind::Control));
        fds.extend(sockets.control.iter().map(|socket| socket.as_fd()));
        let line = format!("{}\n", FromOld::Sockets(kinds));
        let mut room = [MaybeUninit::uninit(); super::new::RIGHTS_BYTES];
        let mut rights = SendAncillaryBuffer::new(&mut room);
        if !rights.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let sent = self.stream.try_io(Interest::WRITABLE, || {
            Ok(sendmsg(&self.stream, &[IoSlice::new(line.as_bytes())], &mut rights, SendFlags::NOSIGNAL)?)
        })?;
        if sent == line.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Ends a new one that keeps the lock although it was told "no".
    pub fn kill(&self) {
        if let Ok(process) = i32::try_from(self.process)
            && process > 1
            && self.process != std::process::id()
        {
            let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
        }
    }
}
