// `vjepa bench`: how fast is this, and of what is possible here, how much? Figures are ratios of things measured in
// alternation in one run, since neighbours slow a machine down and let it go again; absolute numbers only go along.
//
//   roof    multiply-adds in registers, memory, and the best product of matrices on the shapes of a step
//   attention  one block's attention of each network, on its sequences
//   ops     what a step spends its time on
//   step    a training step against that roof, and against another program's step
//   loader  samples to clips on one thread, against another program on the same files
//   collectives  what ranks send each other, against MPI itself
//   masks   how evenly masks spread a step over ranks: counts, no times (balance.h)
//   save    how long training stands for a save, waiting for it and beside it
//   overlap      how much of it is hidden behind computing, over a slow network
//   slots        what the tree costs in which gradients of slots are summed
#ifndef VJ_JOBS_BENCH_BENCH_H
#define VJ_JOBS_BENCH_BENCH_H

#include "model/vjepa.h"
#include "runtime/base/json.h"
#include "runtime/cpu/roof.h"

// A made-up training step: clips of noise, masks of the given sizes. One slot, so `batch` clips go through together.
typedef struct vj_bench_work {
    vj_model_config model;
    int64_t frames, crop, batch;
    int n_pairs;
    int64_t K[VJ_MAX_MASKS], P[VJ_MAX_MASKS];   // context and target tokens of each mask
    int64_t threads;
    bool in_backward;                           // as optim.in_backward
} vj_bench_work;

// "808,280" and "1240,1768" of the command line; NULL: the share of tokens that the published masks leave and take.
vj_status vj_bench_masks(vj_bench_work *work, const char *ctx, const char *tgt) VJ_MUST_CHECK;
// work->model of a preset, with 0 blocks as many as it has, resolved. VJ_ERR_USAGE: sizes of `work` out of range.
vj_status vj_bench_model(vj_bench_work *work, const char *preset, int64_t depth, int64_t pred_depth, int recompute) VJ_MUST_CHECK;
double vj_bench_flop(const vj_bench_work *work);   // of a step (spec/pretrain.md 12.1)

// A slot of it in host memory (for the life of the process), and the room that a model needs.
vj_status vj_bench_slot(const vj_bench_work *work, vj_slot *slot) VJ_MUST_CHECK;
vj_slot_bound vj_bench_bound(const vj_bench_work *work);
// Step `step` (from 1 on) of `slots` slots, of which this rank computes `mine`, each of them `slot`; with in_backward as the model was
// made. *seconds: what it took.
vj_status vj_bench_step(vj_vjepa *m, const vj_slot *slot, int64_t mine, int64_t slots, int64_t step, bool in_backward,
                        vj_step_result *out, double *seconds) VJ_MUST_CHECK;

// The five products that a step spends most on, with the FLOP that a step has of each.
enum { VJ_BENCH_SHAPES = 5 };
typedef struct vj_bench_shape { vj_roof_shape shape; double flop; } vj_bench_shape;
int vj_bench_shapes(const vj_bench_work *work, vj_bench_shape out[VJ_BENCH_SHAPES]);

// Roof of a step: the FLOP of its largest shapes over the time the best product of each takes, FLOP/s.
typedef struct vj_bench_roof {
    double fma, memory;                          // FLOP/s, bytes/s
    double rate[VJ_BENCH_SHAPES][VJ_ROOF_PRODUCTS];
    double total;                                // FLOP/s; below 75 % of fma it says nothing (contracts 8)
} vj_bench_roof;
vj_status vj_bench_roof_measure(const vj_bench_work *work, int rounds, vj_bench_roof *out) VJ_MUST_CHECK;

// Attention of one block: of the target encoder (forward alone), of the encoder and of the predictor.
typedef struct vj_bench_attention_row {
    char of[16];
    int64_t segments, rows, heads, head_dim;   // rows of all segments together
    double forward, backward, share;           // FLOP/s of model work; of both together, of the roof
} vj_bench_attention_row;
typedef struct vj_bench_attention { int n; vj_bench_attention_row row[3]; double fma, roof; } vj_bench_attention;
vj_status vj_bench_attention_measure(const vj_bench_work *work, int rounds, vj_bench_attention *out) VJ_MUST_CHECK;

enum { VJ_BENCH_OPS = 32, VJ_BENCH_STEPS = 64 };
typedef struct vj_bench_op { char name[32]; int64_t calls; double seconds, flop; } vj_bench_op;
typedef struct vj_bench_steps {
    int n;
    double seconds[VJ_BENCH_STEPS];              // the first step, which touches all memory, is not among them
    double loss;
    int64_t peak_rss;                            // of the process that ran them
    int n_ops;
    vj_bench_op ops[VJ_BENCH_OPS];               // of all timed steps together
} vj_bench_steps;
// `steps` timed steps in a process of their own.
vj_status vj_bench_steps_run(const vj_bench_work *work, int steps, vj_bench_steps *out) VJ_MUST_CHECK;

// Another program that prints a line with "total SECONDS s" per step, and "peak GIB GiB": the first step is left out.
typedef struct vj_bench_peer { int n; double seconds[VJ_BENCH_STEPS], peak_rss; } vj_bench_peer;
vj_status vj_bench_peer_run(const char *command, vj_bench_peer *out) VJ_MUST_CHECK;

// Samples to clips as a loader's thread makes them: training rows of all sources, in random order, drawn as in training.
typedef struct vj_bench_clips {
    const char *shards;                          // folder of packed shards
    int64_t frames, side;                        // of a clip
    double fps;
    bool scattered;                              // every frame anywhere in the window
    int64_t samples;                             // clips of a round; beyond the rows that are there they come again, drawn anew
    const char *originals;                       // for the list: the folder that was packed
    const char *list;                            // file: a line of JSON for each clip (file, times of frames, crop)
    const char *dump;                            // file: pixels of the first 16 clips, float32 (3, frames, side, side); or NULL
} vj_bench_clips;
typedef struct vj_bench_clips_result {
    double seconds, cpu_seconds;
    int64_t used, decoded;                       // frames
    int64_t peak_rss;
} vj_bench_clips_result;
// Once through to warm up, once timed, in a process of its own.
vj_status vj_bench_clips_run(const vj_bench_clips *work, vj_bench_clips_result *out) VJ_MUST_CHECK;
vj_status vj_bench_clips_list(const vj_bench_clips *work) VJ_MUST_CHECK;

// Saves of the work's model, waited for and beside steps in turns, to a disk of `rate` bytes a second.
enum { VJ_BENCH_SAVES = 16 };
typedef struct vj_bench_save {
    const vj_bench_work *work;
    const char *dir;                             // an empty or missing folder for the checkpoints
    double rate;                                 // 0: the disk as it is
    const char *shards;                          // clips are loaded beside a save too; NULL: not
    int rounds;
} vj_bench_save;
typedef struct vj_bench_save_result {
    int64_t bytes;                               // of a checkpoint's tensors
    int n;
    // Seconds: a save that is waited for; what steps wait for one beside them, and until it is committed; a plain copy of the bytes.
    double waited[VJ_BENCH_SAVES], stood[VJ_BENCH_SAVES], beside[VJ_BENCH_SAVES], copy[VJ_BENCH_SAVES];
    double step[VJ_BENCH_SAVES], step_beside[VJ_BENCH_SAVES];   // median step of a round, without and with a save beside it
    // With shards, in turns: clips, and seconds until the loader has the next one.
    int clips[VJ_BENCH_SAVES], clips_beside[VJ_BENCH_SAVES];
    double clip_median[VJ_BENCH_SAVES], clip_p99[VJ_BENCH_SAVES], clip_median_beside[VJ_BENCH_SAVES], clip_p99_beside[VJ_BENCH_SAVES];
} vj_bench_save_result;
vj_status vj_bench_save_run(const vj_bench_save *save, vj_bench_save_result *out) VJ_MUST_CHECK;

// Runs `work` in a child process and brings `bytes` of result back, or the child's error.
vj_status vj_bench_apart(vj_status (*work)(const void *context, void *result), const void *context, void *result,
                         size_t bytes) VJ_MUST_CHECK;
double vj_bench_median(const double *v, int n);
// "name": {"median", "all"} of the rounds' figures, in an object that is open.
void vj_bench_put_figure(vj_json_writer *w, const char *name, const double *v, int n);
// Machine, versions, threads, as members of an object that is open.
void vj_bench_put_machine(vj_json_writer *w, int64_t threads);
void vj_bench_print_machine(int64_t threads);

#endif
