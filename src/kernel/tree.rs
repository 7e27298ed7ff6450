//! The order in which the results of blocks are merged.

/// Merges results of blocks along a fixed binary tree, kept like a binary counter: as soon as two
/// neighbours of equal size are there they merge; at the end the rest merges from the last to the
/// first. Whoever owns an aligned subtree can reduce it alone and gets the same bits.
///
/// `LEVELS` bounds the number of blocks to 2^`LEVELS` − 1.
#[derive(Clone, Copy)]
pub(crate) struct Tree<T, const LEVELS: usize> {
    /// Level l holds the result of 2^l blocks if bit l of `blocks` is set.
    levels: [T; LEVELS],
    blocks: usize,
}

/// Levels for as many items as a slice has elements: half the address space, four bytes each.
pub(crate) const LEVELS: usize = usize::BITS as usize - 3;

/// Levels for any number of blocks of a reduction: at least 64 rows of an element, which is 256 bytes,
/// for each but the last. (Short segments are joined, to more than 512 elements; long ones are cut into
/// pieces that are as long on average.)
pub(crate) const BLOCK_LEVELS: usize = usize::BITS as usize - 8;

/// Levels that are enough for [`FEW_BLOCKS`]. A tree of columns is large (256 bytes a level), and most
/// batches need no more.
pub(crate) const FEW_LEVELS: usize = 8;

/// Levels that are enough for [`MANY_BLOCKS`], for trees of many columns.
pub(crate) const MANY_LEVELS: usize = 12;

/// What [`MANY_LEVELS`] hold.
pub(crate) const MANY_BLOCKS: usize = (1 << MANY_LEVELS) - 1;

/// What [`FEW_LEVELS`] hold.
pub(crate) const FEW_BLOCKS: usize = (1 << FEW_LEVELS) - 1;

impl<T: Copy, const LEVELS: usize> Tree<T, LEVELS> {
    /// An empty tree. `blank` only fills the memory.
    #[inline(always)]
    pub(crate) const fn new(blank: T) -> Self {
        Self { levels: [blank; LEVELS], blocks: 0 }
    }

    /// Adds the next block.
    #[inline(always)]
    pub(crate) fn push(&mut self, result: T, merge: impl Fn(T, T) -> T) {
        push(&mut self.levels, &mut self.blocks, result, merge);
    }

    /// Merges what is left; `None` without a block.
    #[inline(always)]
    pub(crate) fn finish(&self, merge: impl Fn(T, T) -> T) -> Option<T> {
        finish(&self.levels, self.blocks, merge)
    }
}

/// Adds the next block to a tree whose levels a caller keeps, of `blocks` so far. (A [`Tree`] may be
/// copied where it is made, which a small stack feels.)
#[inline(always)]
pub(crate) fn push<T: Copy>(
    levels: &mut [T],
    blocks: &mut usize,
    result: T,
    merge: impl Fn(T, T) -> T,
) {
    let mut carry = result;
    let mut occupied = *blocks;
    for level in levels {
        if occupied & 1 == 0 {
            *level = carry;
            break;
        }
        carry = merge(*level, carry);
        occupied >>= 1;
    }
    *blocks = blocks.wrapping_add(1);
}

/// Merges what is left of such a tree; `None` without a block.
#[inline(always)]
pub(crate) fn finish<T: Copy>(levels: &[T], blocks: usize, merge: impl Fn(T, T) -> T) -> Option<T> {
    let mut result = None;
    let mut occupied = blocks;
    for level in levels {
        if occupied & 1 == 1 {
            result = Some(match result {
                None => *level,
                Some(later) => merge(*level, later),
            });
        }
        occupied >>= 1;
    }
    result
}
