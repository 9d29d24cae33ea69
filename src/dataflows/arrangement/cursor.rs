//! A cursor over one batch, as differential's traces are read by.

use std::marker::PhantomData;

use differential_dataflow::trace::{Cursor, Navigable};

use super::Datum;
use super::batch::{Batch, gallop};
use crate::sources::Tick;

/// Where it stands. It moves forward only, within a key's values excepted.
pub struct BatchCursor<K, V> {
    piece: usize,
    key: usize,
    value: usize,
    of: PhantomData<(K, V)>,
}

impl<K: Datum, V: Datum> Navigable for Batch<K, V> {
    type Cursor = BatchCursor<K, V>;

    fn cursor(&self) -> BatchCursor<K, V> {
        BatchCursor { piece: 0, key: 0, value: 0, of: PhantomData }
    }
}

impl<K: Datum, V: Datum> Cursor for BatchCursor<K, V> {
    type Storage = Batch<K, V>;
    type Key<'a> = &'a K;
    type ValOwn = V;
    type Val<'a> = &'a V;
    type Time = Tick;
    type TimeGat<'a> = &'a Tick;
    type Diff = isize;
    type DiffGat<'a> = &'a isize;
    type KeyContainer = Vec<K>;
    type ValContainer = Vec<V>;
    type TimeContainer = Vec<Tick>;
    type DiffContainer = Vec<isize>;

    fn key_valid(&self, batch: &Batch<K, V>) -> bool {
        self.piece < batch.pieces().len()
    }

    fn val_valid(&self, batch: &Batch<K, V>) -> bool {
        batch.pieces().get(self.piece).is_some_and(|piece| self.value < piece.values_of(self.key).end)
    }

    fn key<'a>(&self, batch: &'a Batch<K, V>) -> &'a K {
        &batch.pieces()[self.piece].keys()[self.key]
    }

    fn val<'a>(&self, batch: &'a Batch<K, V>) -> &'a V {
        batch.pieces()[self.piece].value(self.value)
    }

    fn get_key<'a>(&self, batch: &'a Batch<K, V>) -> Option<&'a K> {
        self.key_valid(batch).then(|| self.key(batch))
    }

    fn get_val<'a>(&self, batch: &'a Batch<K, V>) -> Option<&'a V> {
        self.val_valid(batch).then(|| self.val(batch))
    }

    fn map_times<L: FnMut(&Tick, &isize)>(&mut self, batch: &Batch<K, V>, mut logic: L) {
        if self.val_valid(batch) {
            logic(batch.tick(), batch.pieces()[self.piece].count(self.value));
        }
    }

    fn step_key(&mut self, batch: &Batch<K, V>) {
        let Some(piece) = batch.pieces().get(self.piece) else { return };
        self.key += 1;
        if self.key == piece.keys().len() {
            self.piece += 1;
            self.key = 0;
        }
        self.rewind_vals(batch);
    }

    fn seek_key(&mut self, batch: &Batch<K, V>, key: &K) {
        let passed = gallop(&batch.lasts()[self.piece..], |last| last < key);
        if passed > 0 {
            self.piece += passed;
            self.key = 0;
        }
        if let Some(piece) = batch.pieces().get(self.piece) {
            self.key += gallop(&piece.keys()[self.key..], |other| other < key);
        }
        self.rewind_vals(batch);
    }

    fn step_val(&mut self, batch: &Batch<K, V>) {
        if self.val_valid(batch) {
            self.value += 1;
        }
    }

    fn seek_val(&mut self, batch: &Batch<K, V>, value: &V) {
        while self.get_val(batch).is_some_and(|other| other < value) {
            self.value += 1;
        }
    }

    fn rewind_keys(&mut self, batch: &Batch<K, V>) {
        self.piece = 0;
        self.key = 0;
        self.rewind_vals(batch);
    }

    fn rewind_vals(&mut self, batch: &Batch<K, V>) {
        self.value = batch.pieces().get(self.piece).map_or(0, |piece| piece.values_of(self.key).start);
    }
}
