//! The door at which others knock: a Unix socket in the state folder.

use std::{
    collections::VecDeque,
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    task::{Context, Poll},
};

use nix::{
    sys::socket::{getsockopt, sockopt::PeerCredentials},
    unistd::geteuid,
};
use tokio::{
    net::{UnixListener, UnixStream},
    time::{Instant, sleep_until},
};

use super::{
    machine::Heard,
    message::{FromNew, FromOld},
    old::Peer,
    path,
};
use crate::limits;

/// The socket in the state folder. Only who has the folder's lock opens it.
///
/// Who knocks says first what it wants. One that says nothing keeps nobody else from being heard: so many of them are listened to
/// at a time ([`limits::KNOCKS_MAX`]), each for [`limits::KNOCK_WAIT`].
#[derive(Debug)]
pub struct Doorway {
    listener: UnixListener,
    path: PathBuf,
    /// Those that have said nothing yet, the first first.
    knocks: VecDeque<Knock>,
}

#[derive(Debug)]
struct Knock {
    peer: Peer,
    deadline: Instant,
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
        let listener = UnixListener::from_std(listener)?;
        Ok(Self { listener, path: folder.join(path::NAME), knocks: VecDeque::new() })
    }

    /// Somebody who may ask (the same user, or root), and its first word. Others are turned away with a word. Nothing is lost if
    /// this is dropped half-way.
    pub async fn next(&mut self) -> io::Result<(Peer, FromNew)> {
        loop {
            let first = self.knocks.front().map(|knock| knock.deadline);
            let expired = async {
                match first {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                said = std::future::poll_fn(|context| self.poll(context)) => if let Some(said) = said? {
                    return Ok(said);
                },
                () = expired => if let Some(mut knock) = self.knocks.pop_front() {
                    knock.peer.say(&FromOld::No("nothing was said in time".to_owned()));
                },
            }
        }
    }

    /// Who has said something; `None`: somebody has come.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<(Peer, FromNew)>>> {
        let mut index = 0;
        while let Some(knock) = self.knocks.get_mut(index) {
            let Poll::Ready(heard) = knock.peer.poll_hear(context) else {
                index += 1;
                continue;
            };
            let Some(mut knock) = self.knocks.remove(index) else { break };
            match heard {
                Heard::Word(Some(word)) => return Poll::Ready(Ok(Some((knock.peer, word)))),
                Heard::Word(None) => knock.peer.say(&FromOld::No("that is no word of this protocol".to_owned())),
                Heard::Gone | Heard::Silence | Heard::Unstarted(_) => {}
            }
        }
        // At the limit the others wait in the kernel's queue.
        while self.knocks.len() < limits::KNOCKS_MAX {
            let Poll::Ready(accepted) = self.listener.poll_accept(context) else { break };
            let (stream, _) = accepted?;
            if let Some(peer) = let_in(stream) {
                self.knocks.push_back(Knock { peer, deadline: Instant::now() + limits::KNOCK_WAIT });
                return Poll::Ready(Ok(None));
            }
        }
        Poll::Pending
    }

    /// Takes the socket away: nobody is there any more who could answer.
    pub fn close(self) {
        let _ = fs::remove_file(self.path);
    }
}

fn let_in(stream: UnixStream) -> Option<Peer> {
    let credentials = getsockopt(&stream, PeerCredentials).ok()?;
    let mut peer = Peer::from_door(stream, u32::try_from(credentials.pid()).unwrap_or(0));
    if credentials.uid() == 0 || credentials.uid() == geteuid().as_raw() {
        return Some(peer);
    }
    let why = "the running process belongs to another user: use sudo, or another folder with --state";
    peer.say(&FromOld::No(why.to_owned()));
    None
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, os::unix::net::UnixStream as Client, time::Duration};

    use tokio::time::timeout;

    use super::*;

    fn knock(folder: &Path, word: &[u8]) -> Client {
        let mut client = path::connect(folder, path::NAME).unwrap();
        client.write_all(word).unwrap();
        client
    }

    /// The time until `reload` is heard behind so many that say nothing.
    async fn heard_behind(silent: usize) -> Duration {
        let folder = tempfile::tempdir().unwrap();
        let mut doorway = Doorway::open(folder.path()).unwrap();
        let _silent: Vec<_> = (0..silent).map(|_| knock(folder.path(), b"rel")).collect();
        let _speaker = knock(folder.path(), b"reload\n");
        let start = Instant::now();
        let (peer, word) = timeout(Duration::from_secs(10), doorway.next()).await.unwrap().unwrap();
        assert_eq!((peer.process(), word), (std::process::id(), FromNew::Reload));
        start.elapsed()
    }

    #[tokio::test]
    async fn those_that_say_nothing_keep_nobody_from_being_heard() {
        assert!(heard_behind(0).await < limits::KNOCK_WAIT);
        assert!(heard_behind(limits::KNOCKS_MAX - 1).await < limits::KNOCK_WAIT);
        // One past the limit waits until the first has had its time.
        let waited = heard_behind(limits::KNOCKS_MAX).await;
        assert!(waited >= limits::KNOCK_WAIT / 2 && waited < 2 * limits::KNOCK_WAIT, "{waited:?}");
        assert!(heard_behind(3 * limits::KNOCKS_MAX).await < 5 * limits::KNOCK_WAIT);
    }

    #[tokio::test]
    async fn those_that_leave_or_talk_nonsense_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let mut doorway = Doorway::open(folder.path()).unwrap();
        drop(knock(folder.path(), b""));
        let mut nonsense = knock(folder.path(), b"GET / HTTP/1.1\r\n");
        let mut endless = knock(folder.path(), &[b'x'; 2 * limits::HANDOVER_LINE_BYTES_MAX]);
        let _speaker = knock(folder.path(), b"ask 1 7\nloaded\n");
        let (mut peer, word) = doorway.next().await.unwrap();
        assert_eq!(word, FromNew::Ask { version: 1, process: 7 });
        assert_eq!(peer.process(), std::process::id(), "the kernel's word counts");
        assert_eq!(peer.hear().await, Heard::Word(Some(FromNew::Loaded)), "the rest of what it said is kept");
        assert!(doorway.knocks.is_empty());
        for client in [&mut nonsense, &mut endless] {
            let mut answer = [0; 64];
            let length = io::Read::read(client, &mut answer).unwrap();
            assert!(answer[..length].starts_with(b"no "), "{:?}", String::from_utf8_lossy(&answer));
        }
    }
}
