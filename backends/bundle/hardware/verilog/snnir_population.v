// A population of bipolar integrate-and-fire neurons with spike tracers (ST-BIF), event by event.
//
// Verilog-2005, integers only, one clock; every memory has one read port with a register behind it. docs/hardware.md
// describes the ports and their timing; docs/bundle.md says what a step is. Inside a step:
//
//   1. Events (address, value) come in, in any order: V[target] += weight * value for every synapse of the address.
//   2. With RELAY, neurons whose last window has not been told yet send one spike of it back through the synapses.
//   3. Every neuron fires at most once, with T the thresholds of the neuron and S its tracer:
//        uniform:   +1 if V >= T[0] and S < HIGHEST;  -1 if V < 0 and S > LOWEST;  then V -= y * T[0], S += y
//        staircase: +1 if S < HIGHEST and V >= T[S - LOWEST];  -1 if S > LOWEST and V < T[S - LOWEST - 1];  then S += y

`default_nettype none

module snnir_population #(
    parameter NEURONS = 1,
    parameter NEURON_BITS = 1,
    parameter ADDRESSES = 1,          // of all events that come in, those fed back included
    parameter ADDRESS_BITS = 1,       // of a count of 0..ADDRESSES
    parameter SYNAPSES = 1,
    parameter SYNAPSE_BITS = 1,       // of a count of 0..SYNAPSES
    parameter THRESHOLDS = 1,         // words of thresholds
    parameter THRESHOLD_BASE_BITS = 1,
    parameter WEIGHT_BITS = 8,
    parameter EVENT_BITS = 2,
    parameter THRESHOLD_BITS = 16,
    parameter MEMBRANE_BITS = 16,     // as certified
    parameter TRACER_BITS = 5,        // as certified
    parameter LOWEST = 0,
    parameter HIGHEST = 15,
    parameter STAIRCASE = 0,
    parameter RELAY = 0,              // 1: the population's own spikes are fed back, from address RELAY_BASE on
    parameter RELAY_BASE = 0,
    parameter ROWS_FILE = "rows.memh",
    parameter TARGETS_FILE = "targets.memh",
    parameter WEIGHTS_FILE = "weights.memh",
    parameter BASES_FILE = "threshold_bases.memh",
    parameter THRESHOLDS_FILE = "thresholds.memh",
    parameter INITIAL_FILE = "initial.memh"
) (
    input wire clk,
    input wire reset,
    output wire ready,                          // takes one of the three commands below
    input wire clear,                           // starts a window afresh
    input wire keep,                            // with clear: what the tracers hold is what RELAY feeds back
    input wire event_valid,
    input wire [ADDRESS_BITS-1:0] event_address,
    input wire signed [EVENT_BITS-1:0] event_value,
    input wire step,                            // all events of this step have come in
    output reg spike_valid,
    output reg [NEURON_BITS-1:0] spike_neuron,
    output reg spike_negative,
    output reg done,                            // one clock: the step has ended
    output reg silent,                          // with done: no neuron fired, nothing is left to feed back
    output reg overflow                         // sticky: a membrane left its range
);
    localparam [3:0] IDLE = 0, CLEAR_READ = 1, CLEAR_WRITE = 2, ROW_BEGIN = 3, ROW_END = 4, ROW_TEST = 5,
        SYNAPSE_FETCH = 6, SYNAPSE_ADD = 7, RELAY_READ = 8, RELAY_TEST = 9,
        FIRE_READ = 10, FIRE_ABOVE = 11, FIRE_BELOW = 12, FIRE_WRITE = 13;
    localparam [31:0] LAST = NEURONS - 1;
    localparam SMALL_BITS = WEIGHT_BITS + EVENT_BITS > THRESHOLD_BITS ? WEIGHT_BITS + EVENT_BITS : THRESHOLD_BITS;
    localparam WIDE_BITS = (MEMBRANE_BITS > SMALL_BITS ? MEMBRANE_BITS : SMALL_BITS) + 1;

    reg [3:0] state;

    // What the images hold. Row a of the synapses is rows[a] .. rows[a + 1] - 1.
    reg [SYNAPSE_BITS-1:0] rows [0:ADDRESSES];
    reg [NEURON_BITS-1:0] targets [0:SYNAPSES-1];
    reg signed [WEIGHT_BITS-1:0] weights [0:SYNAPSES-1];
    reg [THRESHOLD_BASE_BITS-1:0] threshold_bases [0:NEURONS-1];
    reg signed [THRESHOLD_BITS-1:0] thresholds [0:THRESHOLDS-1];
    reg signed [MEMBRANE_BITS-1:0] initials [0:NEURONS-1];

    initial begin
        $readmemh(ROWS_FILE, rows);
        $readmemh(TARGETS_FILE, targets);
        $readmemh(WEIGHTS_FILE, weights);
        $readmemh(BASES_FILE, threshold_bases);
        $readmemh(THRESHOLDS_FILE, thresholds);
        $readmemh(INITIAL_FILE, initials);
    end

    // What changes: membrane and tracer of every neuron, and what is left to be fed back of its last window.
    reg signed [MEMBRANE_BITS-1:0] membranes [0:NEURONS-1];
    reg signed [TRACER_BITS-1:0] tracers [0:NEURONS-1];
    reg signed [TRACER_BITS-1:0] relays [0:NEURONS-1];

    reg [NEURON_BITS-1:0] neuron;
    reg [ADDRESS_BITS-1:0] row, relay_row;
    reg signed [EVENT_BITS-1:0] value;
    reg [SYNAPSE_BITS-1:0] synapse, row_end;
    reg keeping, relaying, fired;
    reg signed [THRESHOLD_BITS-1:0] above;

    // One read a clock from each memory.
    reg [SYNAPSE_BITS-1:0] row_read;
    reg [NEURON_BITS-1:0] target_read;
    reg signed [WEIGHT_BITS-1:0] weight_read;
    reg [THRESHOLD_BASE_BITS-1:0] base_read;
    reg signed [THRESHOLD_BITS-1:0] threshold_read;
    reg signed [MEMBRANE_BITS-1:0] initial_read, membrane_read;
    reg signed [TRACER_BITS-1:0] tracer_read, relay_read;

    wire last = neuron == LAST[NEURON_BITS-1:0];
    wire [NEURON_BITS-1:0] neuron_next = last ? 0 : neuron + 1;
    wire adding = state == SYNAPSE_FETCH || state == SYNAPSE_ADD;
    wire [NEURON_BITS-1:0] cell_index = adding ? target_read : neuron;

    // The threshold to go up from level S, and one word before it the one to go down.
    wire signed [31:0] tracer_wide = {{(32 - TRACER_BITS){tracer_read[TRACER_BITS-1]}}, tracer_read};
    /* verilator lint_off UNUSEDSIGNAL */
    wire [31:0] level = STAIRCASE == 0 ? 0 : state == FIRE_BELOW ? tracer_wide - LOWEST - 1 : tracer_wide - LOWEST;
    /* verilator lint_on UNUSEDSIGNAL */
    wire [THRESHOLD_BASE_BITS-1:0] threshold_index = base_read + level[THRESHOLD_BASE_BITS-1:0];

    always @(posedge clk) begin
        row_read <= rows[row];
        target_read <= targets[synapse];
        weight_read <= weights[synapse];
        base_read <= threshold_bases[neuron];
        threshold_read <= thresholds[threshold_index];
        initial_read <= initials[neuron];
        membrane_read <= membranes[cell_index];
        tracer_read <= tracers[neuron];
        relay_read <= relays[neuron];
    end

    // Sums have room for any result, so that one beyond the membrane's range is seen.
    wire signed [WIDE_BITS-1:0] membrane_wide = {{(WIDE_BITS - MEMBRANE_BITS){membrane_read[MEMBRANE_BITS-1]}}, membrane_read};
    wire signed [WIDE_BITS-1:0] current = weight_read * value;
    wire signed [WIDE_BITS-1:0] above_wide = {{(WIDE_BITS - THRESHOLD_BITS){above[THRESHOLD_BITS-1]}}, above};
    wire signed [WIDE_BITS-1:0] below_wide = STAIRCASE == 0 ? {WIDE_BITS{1'b0}} :
        {{(WIDE_BITS - THRESHOLD_BITS){threshold_read[THRESHOLD_BITS-1]}}, threshold_read};
    wire up = tracer_wide < HIGHEST && membrane_wide >= above_wide;
    wire down = tracer_wide > LOWEST && membrane_wide < below_wide;
    wire signed [WIDE_BITS-1:0] change = adding ? current : STAIRCASE != 0 ? 0 : up ? -above_wide : down ? above_wide : 0;
    wire signed [WIDE_BITS-1:0] result = membrane_wide + change;
    wire fits = result[WIDE_BITS-1:MEMBRANE_BITS-1] == {(WIDE_BITS - MEMBRANE_BITS + 1){result[MEMBRANE_BITS-1]}};
    wire signed [MEMBRANE_BITS-1:0] membrane_next = state == CLEAR_WRITE ? initial_read : result[MEMBRANE_BITS-1:0];

    wire relay_negative = relay_read[TRACER_BITS-1];
    wire [TRACER_BITS-1:0] relay_next = relay_negative ? relay_read + 1 : relay_read - 1;

    always @(posedge clk) begin
        if (state == CLEAR_WRITE || state == SYNAPSE_ADD || state == FIRE_WRITE) membranes[cell_index] <= membrane_next;
        if (state == CLEAR_WRITE) tracers[neuron] <= 0;
        else if (state == FIRE_WRITE) tracers[neuron] <= up ? tracer_read + 1 : down ? tracer_read - 1 : tracer_read;
        if (state == CLEAR_WRITE) relays[neuron] <= keeping ? tracer_read : 0;
        else if (state == RELAY_TEST && relay_read != 0) relays[neuron] <= relay_next;
    end

    assign ready = state == IDLE;

    // The end of an event's synapses: the next event, the next neuron's relay, or firing.
    wire event_over = state == ROW_TEST && synapse == row_read || state == SYNAPSE_ADD && synapse == row_end ||
        state == RELAY_TEST && relay_read == 0;
    wire [3:0] event_next = !relaying ? IDLE : last ? FIRE_READ : RELAY_READ;

    always @(posedge clk) begin
        spike_valid <= 0;
        done <= 0;
        if (reset) begin
            state <= IDLE;
            overflow <= 0;
        end else case (state)
            IDLE: begin
                neuron <= 0;
                relay_row <= RELAY_BASE[ADDRESS_BITS-1:0];
                fired <= 0;
                relaying <= 0;
                if (clear) begin
                    keeping <= keep;
                    state <= CLEAR_READ;
                end else if (event_valid) begin
                    row <= event_address;
                    value <= event_value;
                    state <= ROW_BEGIN;
                end else if (step) state <= RELAY != 0 ? RELAY_READ : FIRE_READ;
            end

            CLEAR_READ: state <= CLEAR_WRITE;
            CLEAR_WRITE: begin
                neuron <= neuron_next;
                state <= last ? IDLE : CLEAR_READ;
            end

            // Through the synapses of one address.
            ROW_BEGIN: begin
                row <= row + 1;
                state <= ROW_END;
            end
            ROW_END: begin
                synapse <= row_read;
                state <= ROW_TEST;
            end
            ROW_TEST: begin
                row_end <= row_read;
                state <= event_over ? event_next : SYNAPSE_FETCH;
            end
            SYNAPSE_FETCH: begin
                synapse <= synapse + 1;
                state <= SYNAPSE_ADD;
            end
            SYNAPSE_ADD: begin
                if (!fits) overflow <= 1;
                state <= event_over ? event_next : SYNAPSE_FETCH;
            end

            // One spike of every neuron that has some of its last window left.
            RELAY_READ: begin
                relaying <= 1;
                state <= RELAY_TEST;
            end
            RELAY_TEST: begin
                if (!event_over && relay_next != 0) fired <= 1;
                row <= relay_row;
                value <= relay_negative ? -1 : 1;
                state <= event_over ? event_next : ROW_BEGIN;
            end

            FIRE_READ: state <= FIRE_ABOVE;
            FIRE_ABOVE: state <= FIRE_BELOW;
            FIRE_BELOW: begin
                above <= threshold_read;
                state <= FIRE_WRITE;
            end
            FIRE_WRITE: begin
                spike_valid <= up || down;
                spike_neuron <= neuron;
                spike_negative <= down;
                if (up || down) fired <= 1;
                if (!fits) overflow <= 1;
                neuron <= neuron_next;
                state <= last ? IDLE : FIRE_READ;
                done <= last;
                silent <= !(fired || up || down);
            end
            default: state <= IDLE;
        endcase
        if (event_over && relaying) begin
            neuron <= neuron_next;
            relay_row <= relay_row + 1;
        end
    end
endmodule

`default_nettype wire
