//! Runs every operation of the budget and prints a line for each: its name, the bytes of stack that
//! it took at most, and the instructions it executed for an element.
//!
//! Instructions are counted in time: `../budget.sh` starts the emulator such that each takes a
//! nanosecond, and the system timer ticks every 40 of them.

#![no_std]
#![no_main]

use core::ptr;

use board::{Line, Stack, exit};
use budget::{Arguments, OPS, Op, Order};
use evenkeel::{Error, Layout, Moments};

const OP_FAILED: u32 = 1;
const STACK_FULL: u32 = 2;

/// Room for the largest of the shapes below.
const LEN: usize = 33_000;
const CHANNELS: usize = 64;

struct Memory {
    x: [f32; LEN],
    dy: [f32; LEN],
    y: [f32; LEN],
    long: [[f32; LEN]; 2],
    moments: [Moments; CHANNELS],
    /// The arguments of one value a channel.
    channels: [[f32; CHANNELS]; 8],
}

static mut MEMORY: Memory = Memory {
    x: [0.0; LEN],
    dy: [0.0; LEN],
    y: [0.0; LEN],
    long: [[0.0; LEN]; 2],
    moments: [Moments::new(); CHANNELS],
    channels: [[0.0; CHANNELS]; 8],
};

/// Batch, channels, positions and what the data are multiplied by. Instructions are counted in the
/// first; the others are where algorithms differ, and where they take most stack: a value or less
/// than a block of values a channel, partly filled lanes, many rows, and data that need a rescue.
const SHAPES: [([usize; 3], f32); 9] = [
    ([4, 4, 256], 1.0),
    ([1, 2, 1300], 1e30),
    ([2, 50, 20], 1.0),
    ([2, 50, 20], 1e30),
    ([300, 2, 4], 1e30),
    ([100, 34, 1], 1.0),
    ([100, 34, 1], 1e30),
    ([16_500, 2, 1], 1e30),
    ([1, 2, 16_500], 1e30),
];

#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    let memory = &raw mut MEMORY;
    // SAFETY: `main` is called once, by the start of the machine; nothing else knows this memory.
    let memory = unsafe { &mut *memory };
    for op in OPS {
        let mut stack = 0;
        let mut instructions = None;
        for (sizes, scale) in SHAPES {
            // Where the caller decides, it decides for either order.
            let orders: &[Order] = match op.order {
                Order::Any => &[Order::First, Order::Last],
                ref order => core::slice::from_ref(order),
            };
            for &order in orders {
                let Ok(layout) = layout(order, sizes) else { exit(OP_FAILED) };
                let measured = measure(op, memory, layout, scale);
                stack = stack.max(measured.stack);
                instructions.get_or_insert(measured.instructions * 10 / layout.len() as u32);
            }
        }
        let tenths = instructions.unwrap_or_default();
        let line = Line::new().text(op.name).text(" ").decimal(stack as u32).text(" ");
        line.decimal(tenths / 10).text(".").decimal(tenths % 10).print();
    }
    exit(0)
}

fn layout(order: Order, [batch, channels, spatial]: [usize; 3]) -> Result<Layout, Error> {
    match order {
        Order::Last => Layout::channels_last(batch, spatial, channels),
        Order::First | Order::Any => Layout::channels_first(batch, channels, spatial),
    }
}

struct Measured {
    stack: usize,
    instructions: u32,
}

fn measure(op: &Op, memory: &mut Memory, layout: Layout, scale: f32) -> Measured {
    let (len, channels) = (layout.len(), layout.channels());
    fill(&mut memory.x[..len], scale);
    fill(&mut memory.dy[..len], 1.0);
    fill(&mut memory.y[..len], scale);
    let mut values = memory.channels.each_mut().map(|values| {
        values.fill(1.0);
        &mut values[..channels]
    });
    let [gamma, beta, mean, var, saved_mean, saved_rstd, dgamma, dbeta] = &mut values;
    let moments = &mut memory.moments[..channels];
    moments.fill(Moments::from_parts(2, 0.0, 1.0));
    let mut arguments = Arguments {
        layout,
        x: &memory.x[..len],
        dy: &memory.dy[..len],
        y: &mut memory.y[..len],
        gamma,
        beta,
        mean,
        var,
        saved_mean,
        saved_rstd,
        dgamma,
        dbeta,
        moments,
        long: memory.long.each_mut().map(|values| &mut values[..len]),
    };

    let stack = Stack::paint();
    let start = ticks();
    let status = (op.call)(&mut arguments);
    let instructions = start.wrapping_sub(ticks()) % TICKS * INSTRUCTIONS_A_TICK;
    if status.is_err() {
        Line::new().text(op.name).text(" returned an error").print();
        exit(OP_FAILED);
    }
    let Some(stack) = stack.used() else {
        Line::new().text(op.name).text(" took all of the stack").print();
        exit(STACK_FULL);
    };
    Measured { stack, instructions }
}

/// Numbers evenly distributed over ± `scale`, by a linear congruential generator.
fn fill(values: &mut [f32], scale: f32) {
    let mut state = 1u32;
    for value in values {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *value = (state.cast_signed() >> 8) as f32 * (scale / 8_388_608.0);
    }
}

/// The system timer counts down from here.
const TICKS: u32 = 1 << 24;

/// 25 MHz, and a nanosecond an instruction.
const INSTRUCTIONS_A_TICK: u32 = 40;

/// Reads the system timer, which the first call starts.
fn ticks() -> u32 {
    const CONTROL: *mut u32 = ptr::without_provenance_mut(0xe000_e010);
    const RELOAD: *mut u32 = ptr::without_provenance_mut(0xe000_e014);
    const VALUE: *mut u32 = ptr::without_provenance_mut(0xe000_e018);
    const ENABLED_AT_CPU_CLOCK: u32 = 0b101;
    // SAFETY: registers that every Cortex-M of these targets has; nobody else uses them.
    unsafe {
        if CONTROL.read_volatile() & 1 == 0 {
            RELOAD.write_volatile(TICKS - 1);
            VALUE.write_volatile(0);
            CONTROL.write_volatile(ENABLED_AT_CPU_CLOCK);
        }
        VALUE.read_volatile()
    }
}
