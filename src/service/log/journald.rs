//! systemd's journal by its native protocol: one datagram a record, one field a line
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).

use std::{io, os::unix::net::UnixDatagram};

use nix::sys::stat::fstat;
use tracing::Level;

use super::record::Record;
use crate::limits;

const SOCKET: &str = "/run/systemd/journal/socket";

/// A socket to the journal.
#[derive(Debug)]
pub(super) struct Journald {
    socket: UnixDatagram,
}

impl Journald {
    pub(super) fn open() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(limits::LOG_FLUSH))?;
        Ok(Self { socket })
    }

    /// Sends one record. It is addressed anew each time, because journald may have been restarted.
    pub(super) fn send(&self, record: &Record, text: &str) -> io::Result<()> {
        self.socket.send_to(&datagram(record, text), SOCKET).map(drop)
    }
}

/// Whether stderr is the stream that `variable` (JOURNAL_STREAM, `device:inode`) names: it may be inherited by a process whose
/// stderr goes elsewhere (systemd.exec(5)).
pub(super) fn is_stderr(variable: Option<&str>) -> bool {
    let Some((device, inode)) = variable.and_then(|text| text.split_once(':')) else { return false };
    let (Ok(device), Ok(inode)) = (device.parse::<u64>(), inode.parse::<u64>()) else { return false };
    fstat(io::stderr()).is_ok_and(|stat| stat.st_dev == device && stat.st_ino == inode)
}

/// Values hold no line break (they were escaped when the record was made), so the plain form is enough.
fn datagram(record: &Record, text: &str) -> Vec<u8> {
    let priority = match record.level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    };
    let mut lines = format!("MESSAGE={text}\nPRIORITY={priority}\nSYSLOG_IDENTIFIER=hotcore\n");
    for (name, value) in &record.fields {
        if let Some(name) = field_name(name) {
            lines.push_str(&name);
            lines.push('=');
            lines.push_str(value);
            lines.push('\n');
        }
    }
    lines.into_bytes()
}

/// Upper case, digits and underscores, at most 64, no underscore or digit in front; never one of our own
/// (systemd.journal-fields(7)).
fn field_name(name: &str) -> Option<String> {
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
        .skip_while(|c| !c.is_ascii_uppercase())
        .take(64)
        .collect();
    (!matches!(name.as_str(), "" | "MESSAGE" | "PRIORITY" | "SYSLOG_IDENTIFIER")).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn fields_of_the_event_become_fields_of_the_journal() {
        let mut record = Record::note(SystemTime::UNIX_EPOCH, Level::WARN, "backend refused".into());
        record.fields =
            vec![("domain", "a.com".into()), ("port", "8080".into()), ("_x.y", "z".into()), ("priority", "0".into())];
        assert_eq!(
            String::from_utf8(datagram(&record, &record.text())).unwrap(),
            "MESSAGE=backend refused domain=a.com port=8080 _x.y=z priority=0\nPRIORITY=4\nSYSLOG_IDENTIFIER=hotcore\n\
             DOMAIN=a.com\nPORT=8080\nX_Y=z\n"
        );
    }

    #[test]
    fn levels_become_priorities() {
        for (level, priority) in [(Level::ERROR, 3), (Level::INFO, 6), (Level::DEBUG, 7), (Level::TRACE, 7)] {
            let record = Record::note(SystemTime::UNIX_EPOCH, level, "m".into());
            let bytes = datagram(&record, "m");
            assert!(String::from_utf8(bytes).unwrap().contains(&format!("PRIORITY={priority}\n")), "{level}");
        }
    }
}
