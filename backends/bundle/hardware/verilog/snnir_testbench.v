// Runs one population from golden traces and compares every neuron at every step; layer.vh, the images and the traces
// lie in the current folder. Not for synthesis. Prints one line that begins with OK, DIFFERENT or OVERFLOW.
//
// stimulus.txt and expected.txt: one event a line, `sample window step address value`, sorted; in stimulus.txt also the
// group of the event, which is 0 but for spikes of one bit among few-spike neurons.

`default_nettype none

module snnir_testbench;
    `include "layer.vh"

    reg clk, reset, clear, keep, event_valid, step;
    reg [ADDRESS_BITS-1:0] event_address;
    reg signed [EVENT_BITS-1:0] event_value;
    reg [GROUP_BITS-1:0] event_group;
    wire ready, spike_valid, spike_negative, done, silent, overflow;
    wire [NEURON_BITS-1:0] spike_neuron;

`ifdef FEW_SPIKES
    snnir_few_spikes #(
        .NEURONS(NEURONS), .NEURON_BITS(NEURON_BITS), .ADDRESSES(ADDRESSES), .ADDRESS_BITS(ADDRESS_BITS),
        .SYNAPSES(SYNAPSES), .SYNAPSE_BITS(SYNAPSE_BITS), .THRESHOLDS(THRESHOLDS),
        .THRESHOLD_BASE_BITS(THRESHOLD_BASE_BITS), .GROUPS(GROUPS), .GROUP_BITS(GROUP_BITS), .WEIGHT_BITS(WEIGHT_BITS),
        .GAIN_BITS(GAIN_BITS), .GAIN_MOST(GAIN_MOST), .EVENT_BITS(EVENT_BITS), .THRESHOLD_BITS(THRESHOLD_BITS),
        .MEMBRANE_BITS(MEMBRANE_BITS), .PLANE_BITS(PLANE_BITS), .TRACER_BITS(TRACER_BITS), .LOWEST(LOWEST),
        .HIGHEST(HIGHEST), .BITS(BITS), .TOLD(TOLD), .START(START), .STAIRCASE(STAIRCASE), .RELAY(RELAY),
        .RELAY_BASE(RELAY_BASE), .RELAY_BITS(RELAY_BITS), .RELAY_GROUP(RELAY_GROUP)
    ) population (
        .clk(clk), .reset(reset), .ready(ready), .clear(clear), .keep(keep), .event_valid(event_valid),
        .event_address(event_address), .event_value(event_value), .event_group(event_group), .step(step),
        .spike_valid(spike_valid), .spike_neuron(spike_neuron), .spike_negative(spike_negative), .done(done),
        .silent(silent), .overflow(overflow)
    );
`else
    snnir_population #(
        .NEURONS(NEURONS), .NEURON_BITS(NEURON_BITS), .ADDRESSES(ADDRESSES), .ADDRESS_BITS(ADDRESS_BITS),
        .SYNAPSES(SYNAPSES), .SYNAPSE_BITS(SYNAPSE_BITS), .THRESHOLDS(THRESHOLDS),
        .THRESHOLD_BASE_BITS(THRESHOLD_BASE_BITS), .WEIGHT_BITS(WEIGHT_BITS), .EVENT_BITS(EVENT_BITS),
        .THRESHOLD_BITS(THRESHOLD_BITS), .MEMBRANE_BITS(MEMBRANE_BITS), .TRACER_BITS(TRACER_BITS),
        .LOWEST(LOWEST), .HIGHEST(HIGHEST), .STAIRCASE(STAIRCASE), .RELAY(RELAY), .RELAY_BASE(RELAY_BASE)
    ) population (
        .clk(clk), .reset(reset), .ready(ready), .clear(clear), .keep(keep), .event_valid(event_valid),
        .event_address(event_address), .event_value(event_value), .step(step), .spike_valid(spike_valid),
        .spike_neuron(spike_neuron), .spike_negative(spike_negative), .done(done), .silent(silent), .overflow(overflow)
    );
`endif

    integer found [0:NEURONS-1];
    integer wanted [0:NEURONS-1];
    integer stimulus, expected, lines, sample, window, time_step, i, spikes, compared, clocks;
    integer in_sample, in_window, in_step, in_address, in_value, in_group, worth;
    integer out_sample, out_window, out_step, out_address, out_value;

    always #1 clk = !clk;
    always @(posedge clk) clocks = clocks + 1;

    task next_stimulus;
        begin
            lines = $fscanf(stimulus, "%d %d %d %d %d %d", in_sample, in_window, in_step, in_address, in_value, in_group);
            if (lines != 6) in_sample = -1;
        end
    endtask

    task next_expected;
        begin
            lines = $fscanf(expected, "%d %d %d %d %d", out_sample, out_window, out_step, out_address, out_value);
            if (lines != 5) out_sample = -1;
        end
    endtask

    // A command has been given at a falling edge: one rising edge takes it, then wait until the next can be taken.
    task finish_command;
        begin
            @(negedge clk);
            clear = 0;
            event_valid = 0;
            step = 0;
            while (!ready) begin
                note_spike;
                @(negedge clk);
            end
            note_spike;
        end
    endtask

    task note_spike;
        if (spike_valid) begin
            found[spike_neuron] = spike_negative ? -worth : worth;
            spikes = spikes + 1;
        end
    endtask

    task stop;
        begin
            $finish;
            @(posedge reset); // never: nothing more is said
        end
    endtask

    task run_step;
        begin
            for (i = 0; i < NEURONS; i = i + 1) begin
                found[i] = 0;
                wanted[i] = 0;
            end
            worth = 1;
`ifdef FEW_SPIKES
            if (time_step >= START) worth = 1 << (START + BITS - 1 - time_step);
`endif
            while (in_sample == sample && in_window == window && in_step == time_step) begin
                event_valid = 1;
                event_address = in_address;
                event_value = in_value;
                event_group = in_group;
                finish_command;
                next_stimulus;
            end
            while (out_sample == sample && out_window == window && out_step == time_step) begin
                wanted[out_address] = out_value;
                next_expected;
            end
            step = 1;
            finish_command;
            if (overflow !== 0) begin
                $display("OVERFLOW: sample %0d window %0d step %0d: a membrane of %0d bits", sample, window, time_step,
                    MEMBRANE_BITS);
                stop;
            end
            for (i = 0; i < NEURONS; i = i + 1)
                if (found[i] !== wanted[i]) begin
                    $display("DIFFERENT: sample %0d window %0d step %0d neuron %0d: expected %0d, found %0d",
                        sample, window, time_step, i, wanted[i], found[i]);
                    stop;
                end
            compared = compared + NEURONS;
        end
    endtask

    initial begin
        clk = 0;
        reset = 1;
        clear = 0;
        keep = 0;
        event_valid = 0;
        event_group = 0;
        step = 0;
        spikes = 0;
        compared = 0;
        clocks = 0;
        stimulus = $fopen("stimulus.txt", "r");
        expected = $fopen("expected.txt", "r");
        next_stimulus;
        next_expected;
        @(negedge clk);
        @(negedge clk);
        reset = 0;
        for (sample = 0; sample < SAMPLES; sample = sample + 1)
            for (window = 0; window < WINDOWS; window = window + 1) begin
                if (window == 0 || CARRY == 0) begin
                    clear = 1;
                    keep = window > 0;
                    finish_command;
                end
                for (time_step = 0; time_step < STEPS; time_step = time_step + 1) run_step;
                if (silent !== 1) begin
                    $display("DIFFERENT: sample %0d window %0d: not settled after %0d steps", sample, window, STEPS);
                    stop;
                end
            end
        if (in_sample != -1 || out_sample != -1)
            $display("DIFFERENT: events of sample %0d, %0d are beyond the last step, or not sorted", in_sample, out_sample);
        else
            $display("OK: %0d spikes; %0d comparisons (%0d samples x %0d windows x %0d steps x %0d neurons), %0d clocks",
                spikes, compared, SAMPLES, WINDOWS, STEPS, NEURONS, clocks);
        $finish;
    end
endmodule

`default_nettype wire
