//! A bounded cache of what the management plane knows, with one question at a time for each key.
//!
//! An answer that was asked for before an invalidation never enters the cache after it: an invalidation forgets the
//! question, and a forgotten question's answer goes only to those who waited for it.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::ports::{Future, Unavailable};

const SHARDS: usize = 16;

/// How long entries are used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// An entry is used without asking for so long, milliseconds.
    pub(crate) fresh_ms: u64,
    /// An entry is used for so long when nobody answers, milliseconds.
    pub(crate) stale_ms_max: u64,
    /// That there is nothing is believed for so long, milliseconds.
    pub(crate) missing_ms: u64,
    /// A question is given up after this time.
    pub(crate) answer_time_max: Duration,
}

#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    found: Shards<K, V>,
    missing: Shards<K, ()>,
    flights: Mutex<Flights<K, V>>,
    times: Times,
    clock: Clock,
}

/// Questions that are not answered yet.
#[derive(Debug)]
struct Flights<K, V> {
    open: HashMap<K, Flight<V>>,
    number: u64,
}

#[derive(Debug)]
struct Flight<V> {
    number: u64,
    answer: watch::Receiver<Option<Answer<V>>>,
}

type Answer<V> = Result<Option<V>, Unavailable>;

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone + Debug + Send + Sync + 'static,
    V: Clone + Debug + Send + Sync + 'static,
{
    pub(crate) fn new(entries_max: usize, times: Times, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            found: Shards::new(entries_max),
            missing: Shards::new(entries_max / 4),
            flights: Mutex::new(Flights { open: HashMap::new(), number: 0 }),
            times,
            clock,
        })
    }

    /// The value of a key; `fetch` asks for it when it is not known, once for all who want to know.
    pub(crate) async fn get(
        self: &Arc<Self>,
        key: &K,
        fetch: impl FnOnce() -> Future<Option<V>>,
    ) -> Answer<V> {
        match self.known(key) {
            Some(known) => Ok(known),
            None => self.ask(key, fetch).await,
        }
    }

    /// Forgets a key unless `keep` holds for its value.
    pub(crate) fn invalidate(&self, key: &K, keep: impl Fn(&V) -> bool) {
        let mut flights = self.flights();
        flights.open.remove(key);
        self.missing.remove(key);
        self.found.retain_key(key, keep);
    }

    /// Forgets all values for which `keep` does not hold, and all questions.
    pub(crate) fn retain(&self, keep: impl Fn(&V) -> bool) {
        let mut flights = self.flights();
        flights.open.clear();
        self.missing.retain(|()| false);
        self.found.retain(keep);
    }

    /// Asks anew before any entry is used again, unless nobody answers.
    pub(crate) fn expire(&self) {
        let mut flights = self.flights();
        flights.open.clear();
        self.missing.retain(|()| false);
        self.found.expire();
    }

    /// What is known of a key without asking: a value, or that there is none.
    pub(crate) fn known(&self, key: &K) -> Option<Option<V>> {
        let now_ms = self.clock.now_ms();
        if let Some(value) = self.found.get(key, |entry| now_ms < entry.fresh_until_ms) {
            return Some(Some(value));
        }
        self.missing.get(key, |entry| now_ms < entry.fresh_until_ms).map(|()| None)
    }

    async fn ask(self: &Arc<Self>, key: &K, fetch: impl FnOnce() -> Future<Option<V>>) -> Answer<V> {
        let mut answer = {
            let mut flights = self.flights();
            // An answer enters the cache under the same lock: it is in either.
            if let Some(known) = self.known(key) {
                return Ok(known);
            }
            match flights.open.get(key) {
                Some(flight) => flight.answer.clone(),
                None => self.start(&mut flights, key, fetch),
            }
        };
        match answer.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone().unwrap_or(Ok(None)),
            Err(_) => Err(Unavailable("the look-up ended early".to_owned())),
        }
    }

    /// Asks in a task of its own: the client that happened to be first may leave.
    fn start(
        self: &Arc<Self>,
        flights: &mut Flights<K, V>,
        key: &K,
        fetch: impl FnOnce() -> Future<Option<V>>,
    ) -> watch::Receiver<Option<Answer<V>>> {
        let (sender, answer) = watch::channel(None);
        flights.number += 1;
        let number = flights.number;
        flights.open.insert(key.clone(), Flight { number, answer: answer.clone() });
        let landing = Landing { cache: Arc::clone(self), key: key.clone(), number };
        tokio::spawn(landing.fly(fetch(), sender));
        answer
    }

    fn stale(&self, key: &K) -> Option<V> {
        let now_ms = self.clock.now_ms();
        self.found.get(key, |entry| now_ms.saturating_sub(entry.fetched_ms) < self.times.stale_ms_max)
    }

    fn flights(&self) -> MutexGuard<'_, Flights<K, V>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a question, also when its task dies.
struct Landing<K, V>
where
    K: Hash + Eq,
{
    cache: Arc<Cache<K, V>>,
    key: K,
    number: u64,
}

impl<K, V> Landing<K, V>
where
    K: Hash + Eq + Clone + Debug + Send + Sync + 'static,
    V: Clone + Debug + Send + Sync + 'static,
{
    async fn fly(self, fetch: Future<Option<V>>, sender: watch::Sender<Option<Answer<V>>>) {
        let late = || Unavailable("the look-up took too long".to_owned());
        let answered = tokio::time::timeout(self.cache.times.answer_time_max, fetch).await;
        let answer = match answered.unwrap_or_else(|_| Err(late())) {
            Ok(value) => {
                self.keep(value.as_ref());
                Ok(value)
            }
            Err(unavailable) => {
                tracing::warn!(error = %unavailable, "look-up failed");
                self.cache.stale(&self.key).map(Some).ok_or(unavailable)
            }
        };
        sender.send_replace(Some(answer));
    }

    /// Enters an answer, unless its question was forgotten.
    fn keep(&self, value: Option<&V>) {
        let cache = &self.cache;
        let flights = cache.flights();
        if flights.open.get(&self.key).is_none_or(|flight| flight.number != self.number) {
            return;
        }
        let now_ms = cache.clock.now_ms();
        match value {
            Some(value) => {
                cache.missing.remove(&self.key);
                cache.found.insert(&self.key, value.clone(), now_ms, cache.times.fresh_ms);
            }
            None => {
                cache.found.retain_key(&self.key, |_| false);
                cache.missing.insert(&self.key, (), now_ms, cache.times.missing_ms);
            }
        }
    }
}

impl<K: Hash + Eq, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        let mut flights = self.cache.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if flights.open.get(&self.key).is_some_and(|flight| flight.number == self.number) {
            flights.open.remove(&self.key);
        }
    }
}

/// A map in shards, so that a writer disturbs few readers.
#[derive(Debug)]
struct Shards<K, V> {
    shards: [RwLock<HashMap<K, Entry<V>>>; SHARDS],
    hasher: RandomState,
    shard_entries_max: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    fetched_ms: u64,
    fresh_until_ms: u64,
}

impl<K: Hash + Eq + Clone, V: Clone> Shards<K, V> {
    fn new(entries_max: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::default()),
            hasher: RandomState::new(),
            shard_entries_max: (entries_max / SHARDS).max(1),
        }
    }

    fn get(&self, key: &K, usable: impl Fn(&Entry<V>) -> bool) -> Option<V> {
        let shard = self.shard(key).read().unwrap_or_else(PoisonError::into_inner);
        shard.get(key).filter(|entry| usable(entry)).map(|entry| entry.value.clone())
    }

    fn insert(&self, key: &K, value: V, now_ms: u64, fresh_ms: u64) {
        let mut shard = self.shard(key).write().unwrap_or_else(PoisonError::into_inner);
        if shard.len() >= self.shard_entries_max && !shard.contains_key(key) {
            evict(&mut shard, now_ms);
        }
        let fresh_until_ms = now_ms.saturating_add(fresh_ms);
        shard.insert(key.clone(), Entry { value, fetched_ms: now_ms, fresh_until_ms });
    }

    fn remove(&self, key: &K) {
        self.shard(key).write().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    fn retain_key(&self, key: &K, keep: impl Fn(&V) -> bool) {
        let mut shard = self.shard(key).write().unwrap_or_else(PoisonError::into_inner);
        if shard.get(key).is_some_and(|entry| !keep(&entry.value)) {
            shard.remove(key);
        }
    }

    fn retain(&self, keep: impl Fn(&V) -> bool) {
        for shard in &self.shards {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|_, entry| keep(&entry.value));
        }
    }

    fn expire(&self) {
        for shard in &self.shards {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            shard.values_mut().for_each(|entry| entry.fresh_until_ms = 0);
        }
    }

    fn shard(&self, key: &K) -> &RwLock<HashMap<K, Entry<V>>> {
        let place = self.hasher.hash_one(key) % SHARDS as u64;
        &self.shards[usize::try_from(place).unwrap_or(0)]
    }
}

/// Makes room: whatever has expired, else the oldest of a few.
fn evict<K: Hash + Eq + Clone, V>(shard: &mut HashMap<K, Entry<V>>, now_ms: u64) {
    const LOOKED_AT: usize = 8;
    let before = shard.len();
    shard.retain(|_, entry| now_ms < entry.fresh_until_ms);
    if shard.len() < before {
        return;
    }
    let oldest = shard.iter().take(LOOKED_AT).min_by_key(|(_, entry)| entry.fetched_ms);
    if let Some(key) = oldest.map(|(key, _)| key.clone()) {
        shard.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times = Times {
        fresh_ms: 60_000,
        stale_ms_max: 60_000,
        missing_ms: 60_000,
        answer_time_max: Duration::from_secs(10),
    };

    fn cache(change: impl FnOnce(&mut Times)) -> Arc<Cache<u32, u32>> {
        let mut times = TIMES;
        change(&mut times);
        Cache::new(64, times, Clock::new())
    }

    fn answer(answer: Answer<u32>) -> Future<Option<u32>> {
        Box::pin(async move { answer })
    }

    fn away() -> Answer<u32> {
        Err(Unavailable("away".to_owned()))
    }

    async fn get(cache: &Arc<Cache<u32, u32>>, key: u32, now: Answer<u32>) -> Option<Option<u32>> {
        cache.get(&key, || answer(now)).await.ok()
    }

    #[tokio::test]
    async fn an_answer_is_kept_until_it_is_invalidated() {
        let cache = cache(|_| {});
        assert_eq!(get(&cache, 1, Ok(Some(10))).await, Some(Some(10)));
        assert_eq!(get(&cache, 1, Ok(Some(11))).await, Some(Some(10)));
        cache.invalidate(&1, |value| *value >= 10);
        assert_eq!(get(&cache, 1, Ok(Some(11))).await, Some(Some(10)));
        cache.invalidate(&1, |_| false);
        assert_eq!(get(&cache, 1, Ok(Some(11))).await, Some(Some(11)));
    }

    #[tokio::test]
    async fn that_there_is_nothing_is_kept_too_until_it_is_invalidated() {
        let cache = cache(|_| {});
        assert_eq!(get(&cache, 1, Ok(None)).await, Some(None));
        assert_eq!(get(&cache, 1, Ok(Some(1))).await, Some(None));
        cache.invalidate(&1, |_| true);
        assert_eq!(get(&cache, 1, Ok(Some(1))).await, Some(Some(1)));
    }

    #[tokio::test]
    async fn an_old_answer_serves_while_nobody_answers_but_not_for_ever() {
        let patient = cache(|times| times.fresh_ms = 0);
        get(&patient, 1, Ok(Some(10))).await;
        assert_eq!(get(&patient, 1, away()).await, Some(Some(10)));
        assert_eq!(get(&patient, 1, Ok(Some(11))).await, Some(Some(11)), "it is asked for all the same");
        let impatient = cache(|times| (times.fresh_ms, times.stale_ms_max) = (0, 0));
        get(&impatient, 1, Ok(Some(10))).await;
        assert_eq!(get(&impatient, 1, away()).await, None);
    }

    #[tokio::test]
    async fn a_failed_question_is_not_kept() {
        let cache = cache(|_| {});
        assert_eq!(get(&cache, 1, away()).await, None);
        assert_eq!(get(&cache, 1, Ok(Some(1))).await, Some(Some(1)));
    }

    #[tokio::test]
    async fn a_question_that_panics_or_hangs_does_not_block_the_next_one() {
        let cache = cache(|times| times.answer_time_max = Duration::from_millis(5));
        assert!(cache.get(&1, || Box::pin(async { panic!("on purpose") })).await.is_err());
        assert!(cache.get(&1, || Box::pin(std::future::pending())).await.is_err());
        // The panicking task lets go of its question when it is gone.
        while get(&cache, 1, Ok(Some(1))).await != Some(Some(1)) {}
    }

    #[tokio::test]
    async fn there_are_never_more_entries_than_allowed() {
        let cache = cache(|_| {});
        for key in 0..10_000 {
            get(&cache, key, Ok((key % 2 == 0).then_some(key))).await;
        }
        let sizes = |lens: Vec<usize>| (lens.iter().sum::<usize>(), lens.into_iter().max().unwrap());
        let found = sizes(cache.found.shards.iter().map(|shard| shard.read().unwrap().len()).collect());
        let missing = sizes(cache.missing.shards.iter().map(|shard| shard.read().unwrap().len()).collect());
        assert!(found.0 <= 64 && missing.0 <= 16, "{found:?} {missing:?}");
        assert!(found.0 > 32, "most places are used");
        assert!(cache.flights().open.is_empty());
    }

    #[test]
    fn what_has_expired_makes_room_first() {
        let entry = |fetched_ms, fresh_until_ms| Entry { value: (), fetched_ms, fresh_until_ms };
        let mut shard = HashMap::from([(1, entry(5, 100)), (2, entry(9, 10)), (3, entry(1, 100))]);
        evict(&mut shard, 50);
        assert!(!shard.contains_key(&2) && shard.len() == 2);
        evict(&mut shard, 50);
        assert!(shard.contains_key(&1), "then the oldest");
    }
}
