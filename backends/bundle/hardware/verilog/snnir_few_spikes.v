// A population of few-spike neurons: levels bit by bit, most significant first, from a step that is known beforehand.
//
// Verilog-2005, integers only, one clock; every memory has one read port with a register behind it. docs/hardware.md
// describes the ports and their timing; docs/bundle.md says what a step is. Inside step t of a window:
//
//   1. Events (address, value, group) come in, in any order. In group 0 they are graded:
//        V[target] += (weight << gain) * value for every synapse of the address.
//      In group g > 0 they are spikes of one bit, +1 or -1, which nothing multiplies:
//        P[g][target] += or -= weight << gain.
//   2. With RELAY, neurons send bit RELAY_BITS - 1 - t of what they held in the last window back through the synapses,
//      as spikes of group RELAY_GROUP.
//   3. Sums of planes are doubled, P[g] = 2 P[g], for the next bit (Horner); after the last one, in step ENDS[g] - 1,
//      V += P[g] and P[g] = 0.
//   4. In steps START .. START + TOLD - 1 every neuron emits at most one spike, worth 2^k with k = BITS - 1 - (t - START).
//      With T the thresholds of the neuron, S its tracer, and `negative` where V < 0 (uniform) or V < T[-LOWEST - 1]
//      (staircase):
//        uniform:   + if !negative and S + 2^k <= HIGHEST and V >= 2^k T[0]
//                   - if negative and S - 2^k >= LOWEST and V < (1 - 2^k) T[0];    then V -= y 2^k T[0], S += y 2^k
//        staircase: + if !negative and S + 2^k <= HIGHEST and V >= T[S + 2^k - LOWEST - 1]
//                   - if negative and S - 2^k >= LOWEST and V < T[S - 2^k - LOWEST];    then S += y 2^k

`default_nettype none

module snnir_few_spikes #(
    parameter NEURONS = 1,
    parameter NEURON_BITS = 1,
    parameter ADDRESSES = 1,          // of all events that come in, those fed back included
    parameter ADDRESS_BITS = 1,       // of a count of 0..ADDRESSES
    parameter SYNAPSES = 1,
    parameter SYNAPSE_BITS = 1,       // of a count of 0..SYNAPSES
    parameter THRESHOLDS = 1,         // words of thresholds
    parameter THRESHOLD_BASE_BITS = 1,
    parameter GROUPS = 1,             // groups of sources whose last bits come in the same step
    parameter GROUP_BITS = 1,         // of a number of 0..GROUPS
    parameter WEIGHT_BITS = 8,
    parameter GAIN_BITS = 1,
    parameter GAIN_MOST = 0,          // the largest gain
    parameter EVENT_BITS = 2,         // of a graded event
    parameter THRESHOLD_BITS = 16,
    parameter MEMBRANE_BITS = 16,
    parameter PLANE_BITS = 16,        // of the sums of planes
    parameter TRACER_BITS = 5,        // as certified
    parameter LOWEST = 0,
    parameter HIGHEST = 15,
    parameter BITS = 4,               // of the largest magnitude of a level
    parameter TOLD = 4,               // how many of them are emitted
    parameter START = 1,
    parameter STAIRCASE = 0,
    parameter RELAY = 0,              // 1: the population's own levels are fed back, from address RELAY_BASE on
    parameter RELAY_BASE = 0,
    parameter RELAY_BITS = 1,
    parameter RELAY_GROUP = 1,
    parameter ROWS_FILE = "rows.memh",
    parameter TARGETS_FILE = "targets.memh",
    parameter WEIGHTS_FILE = "weights.memh",
    parameter GAINS_FILE = "gains.memh",
    parameter ENDS_FILE = "ends.memh",
    parameter BASES_FILE = "threshold_bases.memh",
    parameter THRESHOLDS_FILE = "thresholds.memh",
    parameter INITIAL_FILE = "initial.memh"
) (
    input wire clk,
    input wire reset,
    output wire ready,                          // takes one of the three commands below
    input wire clear,                           // starts a window
    input wire keep,                            // with clear: what the tracers hold is what RELAY feeds back
    input wire event_valid,
    input wire [ADDRESS_BITS-1:0] event_address,
    input wire signed [EVENT_BITS-1:0] event_value,
    input wire [GROUP_BITS-1:0] event_group,
    input wire step,                            // all events of this step have come in
    output reg spike_valid,
    output reg [NEURON_BITS-1:0] spike_neuron,
    output reg spike_negative,
    output reg done,                            // one clock: the step has ended
    output reg silent,                          // with done: no later step of this window emits anything
    output reg overflow                         // sticky: a sum left its range
);
    localparam [4:0] IDLE = 0, CLEAR_READ = 1, CLEAR_WRITE = 2, ROW_BEGIN = 3, ROW_END = 4, ROW_TEST = 5,
        SYNAPSE_FETCH = 6, SYNAPSE_ADD = 7, RELAY_READ = 8, RELAY_TEST = 9, GROUP_READ = 10, GROUP_TEST = 11,
        PLANE_READ = 12, PLANE_WRITE = 13, FIRE_READ = 14, FIRE_SIGN = 15, FIRE_PICK = 16, FIRE_WRITE = 17;
    localparam [31:0] LAST = NEURONS - 1;
    localparam PLANES = NEURONS * GROUPS;
    localparam ADDED_BITS = WEIGHT_BITS + GAIN_MOST + EVENT_BITS;
    localparam MOVED_BITS = THRESHOLD_BITS + BITS + 1;
    localparam SMALL_BITS = ADDED_BITS > MOVED_BITS ? ADDED_BITS : MOVED_BITS;
    localparam HELD_BITS = MEMBRANE_BITS > PLANE_BITS ? MEMBRANE_BITS : PLANE_BITS;
    localparam WIDE_BITS = (HELD_BITS > SMALL_BITS ? HELD_BITS : SMALL_BITS) + 2;

    reg [4:0] state;

    // What the images hold. Row a of the synapses is rows[a] .. rows[a + 1] - 1.
    reg [SYNAPSE_BITS-1:0] rows [0:ADDRESSES];
    reg [NEURON_BITS-1:0] targets [0:SYNAPSES-1];
    reg signed [WEIGHT_BITS-1:0] weights [0:SYNAPSES-1];
    reg [GAIN_BITS-1:0] gains [0:SYNAPSES-1];
    reg [31:0] ends [0:GROUPS-1];
    reg [THRESHOLD_BASE_BITS-1:0] threshold_bases [0:NEURONS-1];
    reg signed [THRESHOLD_BITS-1:0] thresholds [0:THRESHOLDS-1];
    reg signed [MEMBRANE_BITS-1:0] initials [0:NEURONS-1];

    initial begin
        $readmemh(ROWS_FILE, rows);
        $readmemh(TARGETS_FILE, targets);
        $readmemh(WEIGHTS_FILE, weights);
        $readmemh(GAINS_FILE, gains);
        $readmemh(ENDS_FILE, ends);
        $readmemh(BASES_FILE, threshold_bases);
        $readmemh(THRESHOLDS_FILE, thresholds);
        $readmemh(INITIAL_FILE, initials);
    end

    // What changes: sums, sums of planes, tracers, and what is fed back of the last window.
    reg signed [MEMBRANE_BITS-1:0] membranes [0:NEURONS-1];
    reg signed [PLANE_BITS-1:0] planes [0:PLANES-1];
    reg signed [TRACER_BITS-1:0] tracers [0:NEURONS-1];
    reg signed [TRACER_BITS-1:0] relays [0:NEURONS-1];

    reg [31:0] now;                             // the step of the window
    reg [NEURON_BITS-1:0] neuron;
    reg [ADDRESS_BITS-1:0] row, relay_row;
    reg signed [EVENT_BITS-1:0] value;
    reg [SYNAPSE_BITS-1:0] synapse, row_end;
    reg [GROUP_BITS-1:0] group;                 // of the event, or whose sums are doubled
    reg [31:0] plane_base;
    reg keeping, relaying, merging, negative;

    // One read a clock from each memory.
    reg [SYNAPSE_BITS-1:0] row_read;
    reg [NEURON_BITS-1:0] target_read;
    reg signed [WEIGHT_BITS-1:0] weight_read;
    reg [GAIN_BITS-1:0] gain_read;
    reg [31:0] end_read;
    reg [THRESHOLD_BASE_BITS-1:0] base_read;
    reg signed [THRESHOLD_BITS-1:0] threshold_read;
    reg signed [MEMBRANE_BITS-1:0] initial_read, membrane_read;
    reg signed [PLANE_BITS-1:0] plane_read;
    reg signed [TRACER_BITS-1:0] tracer_read, relay_read;

    wire last = neuron == LAST[NEURON_BITS-1:0];
    wire [NEURON_BITS-1:0] neuron_next = last ? 0 : neuron + 1;
    wire adding = state == SYNAPSE_FETCH || state == SYNAPSE_ADD;
    wire [NEURON_BITS-1:0] cell_index = adding ? target_read : neuron;
    wire [31:0] plane_index = plane_base + cell_index;
    wire graded = group == 0;

    // The bit of this step, and what it is worth.
    wire firing = now >= START && now < START + TOLD;
    wire [31:0] bit_index = firing ? START + BITS - 1 - now : 0;
    wire signed [31:0] bit_worth = 32'sd1 <<< bit_index;
    wire signed [31:0] tracer_wide = {{(32 - TRACER_BITS){tracer_read[TRACER_BITS-1]}}, tracer_read};

    // Sums have room for any result, so that one beyond its range is seen.
    wire signed [WIDE_BITS-1:0] membrane_wide = {{(WIDE_BITS - MEMBRANE_BITS){membrane_read[MEMBRANE_BITS-1]}}, membrane_read};
    wire signed [WIDE_BITS-1:0] plane_wide = {{(WIDE_BITS - PLANE_BITS){plane_read[PLANE_BITS-1]}}, plane_read};
    wire signed [WIDE_BITS-1:0] threshold_wide =
        {{(WIDE_BITS - THRESHOLD_BITS){threshold_read[THRESHOLD_BITS-1]}}, threshold_read};
    wire signed [WIDE_BITS-1:0] sign_wide = STAIRCASE == 0 ? {WIDE_BITS{1'b0}} : threshold_wide;

    // The threshold of level 0 decides the sign, and no spike changes that: V of a level of 0 or more stays at 0 or more, and
    // one of a level below 0 that has come to 0 or more has no bit left. Then the threshold of the level that is tried.
    wire negative_now = LOWEST < 0 && membrane_wide < sign_wide;
    /* verilator lint_off UNUSEDSIGNAL */
    wire [31:0] level = STAIRCASE == 0 ? 0 : state == FIRE_SIGN ? -LOWEST - 1 :
        negative_now ? tracer_wide - bit_worth - LOWEST : tracer_wide + bit_worth - LOWEST - 1;
    /* verilator lint_on UNUSEDSIGNAL */
    wire [THRESHOLD_BASE_BITS-1:0] threshold_index = base_read + level[THRESHOLD_BASE_BITS-1:0];

    always @(posedge clk) begin
        row_read <= rows[row];
        target_read <= targets[synapse];
        weight_read <= weights[synapse];
        gain_read <= gains[synapse];
        end_read <= ends[group == 0 ? 0 : group - 1];
        base_read <= threshold_bases[neuron];
        threshold_read <= thresholds[threshold_index];
        initial_read <= initials[neuron];
        membrane_read <= membranes[cell_index];
        plane_read <= planes[plane_index];
        tracer_read <= tracers[neuron];
        relay_read <= relays[neuron];
    end

    wire signed [WIDE_BITS-1:0] weight_wide = {{(WIDE_BITS - WEIGHT_BITS){weight_read[WEIGHT_BITS-1]}}, weight_read};
    wire signed [WIDE_BITS-1:0] shifted = weight_wide <<< gain_read;
    wire signed [WIDE_BITS-1:0] current = graded ? shifted * value : value[EVENT_BITS-1] ? -shifted : shifted;
    wire signed [WIDE_BITS-1:0] moved = threshold_wide <<< bit_index;
    wire signed [WIDE_BITS-1:0] above_wide = STAIRCASE != 0 ? threshold_wide : moved;
    wire signed [WIDE_BITS-1:0] below_wide = STAIRCASE != 0 ? threshold_wide : threshold_wide - moved;
    wire up = !negative && tracer_wide + bit_worth <= HIGHEST && membrane_wide >= above_wide;
    wire down = negative && tracer_wide - bit_worth >= LOWEST && membrane_wide < below_wide;
    wire signed [WIDE_BITS-1:0] change = adding ? current : state == PLANE_WRITE ? plane_wide :
        STAIRCASE != 0 ? 0 : up ? -moved : down ? moved : 0;
    wire signed [WIDE_BITS-1:0] result = membrane_wide + change;
    wire signed [WIDE_BITS-1:0] plane_result = plane_wide + change;   // doubled in PLANE_WRITE
    wire fits = result[WIDE_BITS-1:MEMBRANE_BITS-1] == {(WIDE_BITS - MEMBRANE_BITS + 1){result[MEMBRANE_BITS-1]}};
    wire plane_fits = plane_result[WIDE_BITS-1:PLANE_BITS-1] == {(WIDE_BITS - PLANE_BITS + 1){plane_result[PLANE_BITS-1]}};
    wire signed [MEMBRANE_BITS-1:0] membrane_next = state == CLEAR_WRITE ? initial_read : result[MEMBRANE_BITS-1:0];
    wire to_membrane = state == CLEAR_WRITE || state == SYNAPSE_ADD && graded || state == PLANE_WRITE && merging ||
        state == FIRE_WRITE;
    wire to_plane = state == CLEAR_WRITE || state == SYNAPSE_ADD && !graded || state == PLANE_WRITE;
    wire clearing = state == CLEAR_WRITE && group == 1;

    // What is fed back: the bits of a magnitude.
    wire relay_negative = relay_read[TRACER_BITS-1];
    wire [TRACER_BITS-1:0] relay_size = relay_negative ? -relay_read : relay_read;
    wire [31:0] relay_bit = RELAY_BITS - 1 - now;
    wire [TRACER_BITS-1:0] relay_moved = relay_size >> relay_bit;

    always @(posedge clk) begin
        if (to_membrane) membranes[cell_index] <= membrane_next;
        if (to_plane) planes[plane_index] <= state == CLEAR_WRITE || state == PLANE_WRITE && merging ? 0 :
            plane_result[PLANE_BITS-1:0];
        if (clearing) tracers[neuron] <= 0;
        else if (state == FIRE_WRITE && up) tracers[neuron] <= tracer_read + bit_worth[TRACER_BITS-1:0];
        else if (state == FIRE_WRITE && down) tracers[neuron] <= tracer_read - bit_worth[TRACER_BITS-1:0];
        if (clearing) relays[neuron] <= keeping ? tracer_read : 0;
    end

    assign ready = state == IDLE;

    // The end of an event's synapses: the next event, the next neuron's relay, or the sums of planes.
    wire event_over = state == ROW_TEST && synapse == row_read || state == SYNAPSE_ADD && synapse == row_end ||
        state == RELAY_TEST && !relay_moved[0];
    wire [4:0] event_next = !relaying ? IDLE : last ? GROUP_READ : RELAY_READ;
    wire [31:0] group_wide = group;
    wire group_last = group_wide == GROUPS;

    always @(posedge clk) begin
        spike_valid <= 0;
        done <= 0;
        if (reset) begin
            state <= IDLE;
            overflow <= 0;
            now <= 0;
            plane_base <= 0;
        end else case (state)
            IDLE: begin
                neuron <= 0;
                relay_row <= RELAY_BASE[ADDRESS_BITS-1:0];
                relaying <= 0;
                plane_base <= event_group == 0 ? 0 : (event_group - 1) * NEURONS;
                group <= event_group;
                if (clear) begin
                    keeping <= keep;
                    now <= 0;
                    group <= 1;
                    plane_base <= 0;
                    state <= CLEAR_READ;
                end else if (event_valid) begin
                    row <= event_address;
                    value <= event_value;
                    state <= ROW_BEGIN;
                end else if (step) begin
                    group <= RELAY != 0 && now < RELAY_BITS ? RELAY_GROUP[GROUP_BITS-1:0] : 1;
                    plane_base <= RELAY != 0 && now < RELAY_BITS ? (RELAY_GROUP - 1) * NEURONS : 0;
                    state <= RELAY != 0 && now < RELAY_BITS ? RELAY_READ : GROUP_READ;
                end
            end

            CLEAR_READ: state <= CLEAR_WRITE;
            CLEAR_WRITE: begin
                neuron <= neuron_next;
                if (last) begin
                    group <= group + 1;
                    plane_base <= plane_base + NEURONS;
                end
                state <= last && group_last ? IDLE : CLEAR_READ;
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
                if (graded ? !fits : !plane_fits) overflow <= 1;
                state <= event_over ? event_next : SYNAPSE_FETCH;
            end

            // One bit of every neuron's level in the last window.
            RELAY_READ: begin
                relaying <= 1;
                state <= RELAY_TEST;
            end
            RELAY_TEST: begin
                row <= relay_row;
                value <= relay_negative ? -1 : 1;
                state <= event_over ? event_next : ROW_BEGIN;
            end

            // Sums of planes, one group after another: doubled for the bits to come, or added after the last one.
            GROUP_READ: state <= GROUP_TEST;
            GROUP_TEST: begin
                merging <= now + 1 == end_read;
                if (now < end_read) state <= PLANE_READ;
                else begin
                    group <= group + 1;
                    plane_base <= plane_base + NEURONS;
                    state <= !group_last ? GROUP_READ : firing ? FIRE_READ : IDLE;
                    done <= group_last && !firing;
                    silent <= now + 1 >= START + TOLD;
                    if (group_last && !firing) now <= now + 1;
                end
            end
            PLANE_READ: state <= PLANE_WRITE;
            PLANE_WRITE: begin
                if (merging ? !fits : !plane_fits) overflow <= 1;
                neuron <= neuron_next;
                if (!last) state <= PLANE_READ;
                else begin
                    group <= group + 1;
                    plane_base <= plane_base + NEURONS;
                    state <= !group_last ? GROUP_READ : firing ? FIRE_READ : IDLE;
                    done <= group_last && !firing;
                    silent <= now + 1 >= START + TOLD;
                    if (group_last && !firing) now <= now + 1;
                end
            end

            FIRE_READ: state <= FIRE_SIGN;
            FIRE_SIGN: state <= FIRE_PICK;
            FIRE_PICK: begin
                negative <= negative_now;
                state <= FIRE_WRITE;
            end
            FIRE_WRITE: begin
                spike_valid <= up || down;
                spike_neuron <= neuron;
                spike_negative <= down;
                if (!fits) overflow <= 1;
                neuron <= neuron_next;
                state <= last ? IDLE : FIRE_READ;
                done <= last;
                silent <= now + 1 >= START + TOLD;
                if (last) now <= now + 1;
            end
            default: state <= IDLE;
        endcase
        if (event_over && relaying) begin
            neuron <= neuron_next;
            relay_row <= relay_row + 1;
            if (last) begin
                group <= 1;
                plane_base <= 0;
            end
        end
    end
endmodule

`default_nettype wire
