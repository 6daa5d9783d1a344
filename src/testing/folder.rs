//! A folder in memory that promises what POSIX promises and no more, and knows every state that a crash may leave.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
};

use crate::routes::storage::{Storage, StorageFile};

/// Clones are the same folder.
#[derive(Clone, Debug)]
pub(crate) struct Model(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    world: World,
    /// Every state of the world since recording began, with the mark that was set then.
    trace: Option<Vec<(World, usize)>>,
    mark: usize,
    calls: u64,
    /// Calls from the first number on and below the second fail so.
    faults: Option<(u64, u64, io::ErrorKind)>,
    /// Bytes that fit.
    room: Option<usize>,
    no_snapshots: bool,
}

/// All files: what a running process sees, and what is on disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    files: Vec<File>,
    names: BTreeMap<String, usize>,
    names_on_disk: BTreeMap<String, usize>,
    names_pending: Vec<Naming>,
}

#[derive(Clone, Debug, Default)]
struct File {
    seen: Vec<u8>,
    on_disk: Vec<u8>,
    pending: Vec<Writing>,
    /// A sync has failed: later ones say that all is well, and it is not.
    lies: bool,
}

#[derive(Clone, Debug)]
enum Naming {
    Set(String, usize),
    Move(String, String, usize),
    Remove(String),
}

#[derive(Clone, Debug)]
enum Writing {
    Append(Vec<u8>),
    Truncate(usize),
}

impl Model {
    pub(crate) fn new() -> Self {
        Self::with(BTreeMap::new())
    }

    /// A folder in which all of these are on disk.
    pub(crate) fn with(contents: BTreeMap<String, Vec<u8>>) -> Self {
        let mut world = World::default();
        for (name, bytes) in contents {
            world.names.insert(name, world.files.len());
            world.files.push(File { seen: bytes.clone(), on_disk: bytes, ..File::default() });
        }
        world.names_on_disk = world.names.clone();
        Self(Arc::new(Mutex::new(State { world, ..State::default() })))
    }

    pub(crate) fn record(&self) {
        let mut state = self.state();
        state.trace = Some(vec![(state.world.clone(), state.mark)]);
    }

    pub(crate) fn trace(&self) -> Vec<(World, usize)> {
        self.state().trace.take().unwrap()
    }

    pub(crate) fn mark(&self, mark: usize) {
        self.state().mark = mark;
    }

    pub(crate) fn world(&self) -> World {
        self.state().world.clone()
    }

    pub(crate) fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Lets the calls of these numbers fail.
    pub(crate) fn fail(&self, from: u64, until: u64, kind: io::ErrorKind) {
        self.state().faults = Some((from, until, kind));
    }

    /// Lets so many more bytes fit.
    pub(crate) fn room(&self, bytes: Option<usize>) {
        self.state().room = bytes;
    }

    /// Lets every attempt to make a snapshot fail.
    pub(crate) fn refuse_snapshots(&self, refuse: bool) {
        self.state().no_snapshots = refuse;
    }

    /// What a process sees.
    pub(crate) fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        state.world.names.iter().map(|(name, &file)| (name.clone(), state.world.files[file].seen.clone())).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// One call: counted, perhaps failing, recorded.
    fn call<T>(&self, what: impl FnOnce(&mut State, Option<io::Error>) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state();
        let call = state.calls;
        state.calls += 1;
        let fault = state.faults.filter(|&(from, until, _)| (from..until).contains(&call));
        let result = what(&mut state, fault.map(|(_, _, kind)| kind.into()));
        let point = (state.world.clone(), state.mark);
        if let Some(trace) = &mut state.trace {
            trace.push(point);
        }
        result
    }

    fn simple<T>(&self, what: impl FnOnce(&mut World) -> io::Result<T>) -> io::Result<T> {
        self.call(|state, fault| fault.map_or_else(|| what(&mut state.world), Err))
    }
}

impl World {
    fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// What a crash at this moment may leave on disk, as calls to `see`, at most about `most` of them, chosen at random
    /// beyond the extremes. Names: each subset of the pending changes (or each beginning, if there are many). Contents: of
    /// each file lost, kept, ended by zeros, or torn at each byte, the others lost or kept.
    pub(crate) fn crashes(
        &self,
        random: &mut fastrand::Rng,
        most: usize,
        mut see: impl FnMut(BTreeMap<String, Vec<u8>>),
    ) {
        let pending = self.names_pending.len();
        let subsets: Vec<u32> = match pending {
            0..=4 => (0..1 << pending).collect(),
            _ => (0..=pending).map(|count| (1 << count) - 1).collect(),
        };
        let dirty: Vec<usize> = (0..self.files.len()).filter(|&file| !self.files[file].pending.is_empty()).collect();
        let mut choices = Vec::new();
        for &subset in &subsets {
            for others in [false, true] {
                choices.push((subset, others, None));
                for &file in &dirty {
                    choices.extend((0..=self.files[file].tears()).map(|tear| (subset, others, Some((file, tear)))));
                }
            }
        }
        // The extremes first, then a fair sample of the rest.
        random.shuffle(&mut choices);
        choices.sort_by_key(|(_, _, torn)| torn.is_some());
        for (subset, others, torn) in choices.into_iter().take(most) {
            let mut names = self.names_on_disk.clone();
            for (_, naming) in self.names_pending.iter().enumerate().filter(|(at, _)| subset >> at & 1 == 1) {
                naming.apply(&mut names);
            }
            let content = |file: usize| match torn {
                Some((torn, tear)) if torn == file => self.files[file].torn(tear),
                _ if others => self.files[file].torn(usize::MAX),
                _ => self.files[file].on_disk.clone(),
            };
            see(names.into_iter().map(|(name, file)| (name, content(file))).collect());
        }
    }
}

impl File {
    /// Number of states between nothing and all of what is pending; the last one is a tail of zeros.
    fn tears(&self) -> usize {
        let steps = self.pending.iter().map(|writing| match writing {
            Writing::Append(bytes) => bytes.len().max(1),
            Writing::Truncate(_) => 1,
        });
        steps.sum::<usize>() + 1
    }

    /// The content when the first `tear` steps of what is pending reached the disk.
    fn torn(&self, tear: usize) -> Vec<u8> {
        if tear == self.tears() {
            let mut zeros = self.on_disk.clone();
            zeros.resize(self.seen.len().max(zeros.len()), 0);
            return zeros;
        }
        let (mut content, mut left) = (self.on_disk.clone(), tear);
        for writing in &self.pending {
            match writing {
                _ if left == 0 => break,
                Writing::Append(bytes) => {
                    content.extend(bytes.iter().take(left));
                    left = left.saturating_sub(bytes.len().max(1));
                }
                Writing::Truncate(length) => {
                    content.truncate(*length);
                    left -= 1;
                }
            }
        }
        content
    }
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Set(name, file) => _ = names.insert(name.clone(), *file),
            Self::Move(from, to, file) => {
                if names.get(from) == Some(file) {
                    names.remove(from);
                }
                names.insert(to.clone(), *file);
            }
            Self::Remove(name) => _ = names.remove(name),
        }
    }
}

impl Storage for Model {
    type File = ModelFile;

    fn location(&self, name: &str) -> PathBuf {
        PathBuf::from("/model").join(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.simple(|world| Ok(world.names.keys().cloned().collect()))
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.simple(|world| Ok(world.files[world.find(name)?].seen.clone()))
    }

    fn create(&self, name: &str) -> io::Result<ModelFile> {
        if self.state().no_snapshots && name.contains("snapshot") {
            return Err(io::ErrorKind::Other.into());
        }
        let file = self.simple(|world| {
            if let Ok(file) = world.find(name) {
                world.files[file].seen.clear();
                world.files[file].pending.push(Writing::Truncate(0));
                return Ok(file);
            }
            world.files.push(File::default());
            let naming = Naming::Set(name.to_owned(), world.files.len() - 1);
            naming.apply(&mut world.names);
            world.names_pending.push(naming);
            Ok(world.files.len() - 1)
        })?;
        Ok(ModelFile { model: self.clone(), file })
    }

    fn open_append(&self, name: &str) -> io::Result<ModelFile> {
        let file = self.simple(|world| world.find(name))?;
        Ok(ModelFile { model: self.clone(), file })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.simple(|world| {
            let naming = Naming::Move(from.to_owned(), to.to_owned(), world.find(from)?);
            naming.apply(&mut world.names);
            world.names_pending.push(naming);
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.simple(|world| {
            world.find(name)?;
            let naming = Naming::Remove(name.to_owned());
            naming.apply(&mut world.names);
            world.names_pending.push(naming);
            Ok(())
        })
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.simple(|world| {
            world.names_on_disk = world.names.clone();
            world.names_pending.clear();
            Ok(())
        })
    }
}

#[derive(Debug)]
pub(crate) struct ModelFile {
    model: Model,
    file: usize,
}

impl StorageFile for ModelFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.model.call(|state, fault| {
            let full = state.room.is_some_and(|room| bytes.len() > room);
            // A failed write leaves part of the bytes behind.
            let written =
                if fault.is_some() { bytes.len() / 2 } else { state.room.unwrap_or(usize::MAX).min(bytes.len()) };
            if let Some(room) = &mut state.room {
                *room -= written.min(*room);
            }
            let bytes = bytes[..written].to_vec();
            let file = &mut state.world.files[self.file];
            file.seen.extend(&bytes);
            file.pending.push(Writing::Append(bytes));
            match fault {
                Some(fault) => Err(fault),
                None if full => Err(io::ErrorKind::StorageFull.into()),
                None => Ok(()),
            }
        })
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.model.call(|state, fault| {
            let file = &mut state.world.files[self.file];
            if let Some(fault) = fault {
                file.lies = true;
                return Err(fault);
            }
            if !file.lies {
                file.on_disk = file.seen.clone();
                file.pending.clear();
            }
            Ok(())
        })
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.model.call(|state, fault| match fault {
            Some(fault) => Err(fault),
            None => {
                let length = usize::try_from(bytes).unwrap();
                let file = &mut state.world.files[self.file];
                file.seen.truncate(length);
                file.pending.push(Writing::Truncate(length));
                Ok(())
            }
        })
    }
}
