//! `records`: the source operator of each worker, which releases what the reader feeds it.

use crossbeam_channel::TryRecvError;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::generic::{OutputBuilderSession, source};
use timely::dataflow::{Scope, Stream};

use super::Arrival;
use crate::sources::{Inlet, Tick};

/// Gives each block at its tick and steps past it at once. When the reader's end of the inlet closes, so does the stream; whether the
/// dumps were whole is said by their `End`s alone.
pub fn records<'scope>(scope: Scope<'scope, Tick>, inlet: Inlet) -> Stream<'scope, Tick, Vec<Arrival>> {
    source(scope, "Records", move |capability, info| {
        let worker = scope.index();
        // The reader may have ended before the graph is built.
        let _ = inlet.waker.send(scope.worker().sync_activator_for(info.address.to_vec()));
        let mut capability = Some(capability);
        move |output: &mut OutputBuilderSession<'_, Tick, CapacityContainerBuilder<Vec<Arrival>>>| {
            while let Some(held) = &mut capability {
                match inlet.blocks.try_recv() {
                    Ok(block) => {
                        held.downgrade(&block.tick);
                        let mut session = output.session(&*held);
                        session.give_iterator(block.records.into_iter().map(Arrival::Record));
                        if let Some(ending) = block.ending {
                            session.give(Arrival::End { worker, kind: block.kind, ending });
                        }
                        drop(session);
                        held.downgrade(&(block.tick + 1));
                    }
                    Err(TryRecvError::Empty) => return,
                    Err(TryRecvError::Disconnected) => capability = None,
                }
            }
        }
    })
}
