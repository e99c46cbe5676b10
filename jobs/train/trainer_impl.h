// What the files of jobs/train share.
#ifndef VJ_JOBS_TRAIN_TRAINER_IMPL_H
#define VJ_JOBS_TRAIN_TRAINER_IMPL_H

#include "checkpoints/async.h"
#include "checkpoints/checkpoint.h"
#include "checkpoints/weights.h"
#include "jobs/train/held_out.h"
#include "jobs/train/monitor.h"
#include "jobs/train/phases.h"
#include "jobs/train/ranks.h"
#include "jobs/train/recommend.h"
#include "jobs/train/run_dir.h"
#include "jobs/train/schedule.h"
#include "jobs/train/sinks.h"
#include "jobs/train/trace.h"
#include "jobs/train/trainer.h"
#include "jobs/train/watchdog.h"
#include "runtime/log/metrics.h"

// Samples that the run leaves out since a rollback (rollback.c).
typedef struct vj_rollback {
    int64_t step, to_step;         // the step that was not finite, and that of the state the run went back to
    uint64_t first, samples;       // global sample indices
} vj_rollback;

typedef struct vj_trainer {
    const vj_train_request *request;
    vj_run_config whole;           // as configured
    vj_run_config config;          // of the running stage: crop, frames, rate and slots are its own
    int stage_index;
    vj_config *origins;
    vj_str resolved;               // the resolved configuration, kept in every checkpoint
    vj_run_dir run;
    bool cooldown;
    vj_ranks ranks;
    vj_watchdog *dog;              // ends a run that hangs; from the run directory on
    vj_mesh mesh;
    // What ranks tell each other in the reduction that a step has anyway: VJ_TOLD_* of all ranks, as of that moment.
    double told[12];
    vj_status pending;             // of this rank, from behind it: told before the next step
    char pending_text[2048];

    vj_device *device;
    vj_vjepa *model;
    int64_t mask_tokens;
    char model_digest[65];
    vj_loader *loader;
    vj_loader_stats past;          // of the loaders of this process' earlier stages
    int64_t met;                   // bad samples that delivered ones met, as all ranks know by now
    vj_loader_stats of_all;        // bad, substituted, decode_seconds: of all ranks, as of the last step
    vj_loader_stage stage;
    vj_held_out *held_out;
    vj_monitor *monitor;
    vj_warnings *warnings;         // in every run; without monitor figures only some of them can begin
    vj_metrics *warnings_file;
    double *unit_norms;            // room for one network's
    double roof;                   // FLOP/s of the device's own products, measured at the start
    vj_metrics *metrics;
    vj_sinks *sinks;               // where figures go besides metrics.jsonl
    vj_checkpoint *start;          // cooldown: the parent checkpoint (read only), for "moved from its start"
    vj_weights *init;              // init.from: the weights of step 0, NULL without or when they are others or unreadable now
    char init_digest[65];          // of them, as found at this start
    char *quarantine;              // of the checkpoint the state came from, as JSON text

    vj_run_state state;
    int64_t saved_step;            // step of the newest checkpoint that is committed, -1: none
    vj_async_save *writer;         // of saves beside the training; NULL where there are none
    double save_started;           // of the save that runs
    double save_stood, saves_stood;   // seconds that steps have waited for this save, and for all of this process
    bool save_no_room;             // it was said that there is no memory for a copy
    vj_loader_state data;          // where the loader is to begin; only `known` after a checkpoint was read
    bool data_known;

    vj_phase_clock clock;          // of this rank, since the last window began
    double *windows;               // (ranks, VJ_PHASE_FIGURES): the last window of every rank
    int64_t window_step;           // the step it ended with, 0: none yet
    char (*hosts)[64];             // (ranks)
    vj_stragglers *stragglers;     // the lead's
    vj_straggler straggler;        // as of the last window
    vj_trace *trace;               // while steps of train.trace are made
    int64_t trace_from;            // its first step

    // since the last metrics line
    double log_started, step_seconds, wait_seconds, flop, again_flop;   // flop, again_flop, log_samples, log_tokens: of all ranks
    int64_t log_samples, log_tokens, log_steps;
    double loss_sum;
    int64_t loss_count;
    vj_rollback *rollbacks;        // of the whole run, alike on all ranks
    int64_t n_rollbacks;
    int64_t skipped;               // non-finite steps of this run's life in this process
    vj_held_out_figures figures;   // the latest
    int64_t figures_step;          // -1: none yet
    int64_t steps_done;            // by this process
    double process_step_seconds;   // all of them together
    double process_monitor_seconds;
} vj_trainer;

// start.c: everything up to the first step.
vj_status vj_trainer_start(vj_trainer *t, const vj_train_request *request) VJ_MUST_CHECK;
void vj_trainer_end(vj_trainer *t);
vj_status vj_trainer_make_state(vj_trainer *t) VJ_MUST_CHECK;   // the newest checkpoint's, or the beginning's; all ranks together
vj_status vj_trainer_open_files(vj_trainer *t) VJ_MUST_CHECK;   // the lead: metrics, warnings, sinks, cut behind t->state.step
void vj_trainer_close_files(vj_trainer *t);
// stage.c: model buffers, loader and held-out figures for the stage that the next step belongs to.
vj_status vj_trainer_begin_stage(vj_trainer *t) VJ_MUST_CHECK;
// At a step border: goes over to the next stage when it begins here.
vj_status vj_trainer_next_stage(vj_trainer *t) VJ_MUST_CHECK;
void vj_trainer_end_stage(vj_trainer *t);   // closes what begin_stage opened
vj_status vj_trainer_skip_data(vj_trainer *t, uint64_t samples) VJ_MUST_CHECK;   // the loader goes on that much later
// The target encoder's parameter `param` as it was at step 0 of the run; false when it is not known any more.
bool vj_trainer_start_param(void *trainer, int param, double *out);
// rollback.c. Reads RUN/rollbacks.jsonl; all ranks together.
vj_status vj_trainer_read_rollbacks(vj_trainer *t) VJ_MUST_CHECK;
// At a step border: goes past samples that are left out.
vj_status vj_trainer_leave_out(vj_trainer *t) VJ_MUST_CHECK;
// After a step that was not finite, instead of counting it: the state of the newest checkpoint, files and data as on a resume.
// VJ_ERR_NONFINITE: it did so train.rollback_max times already.
vj_status vj_trainer_roll_back(vj_trainer *t, double loss, double grad_norm) VJ_MUST_CHECK;
// step.c: one step; updated false when a non-finite step was skipped. rolled_back: there was none, t->state is an earlier one.
enum { VJ_TOLD_FLOP, VJ_TOLD_TOKENS, VJ_TOLD_AGAIN_FLOP, VJ_TOLD_STOP, VJ_TOLD_SAVE_READY, VJ_TOLD_SAVE_FAILED,
       VJ_TOLD_BAD, VJ_TOLD_SUBSTITUTED, VJ_TOLD_DECODE_SECONDS, VJ_TOLD };   // the last three as put_data counts
typedef struct vj_step_report {
    double loss, lr, weight_decay, momentum, grad_norm, grad_norm_encoder, grad_norm_predictor;
    bool updated, rolled_back;
} vj_step_report;
vj_status vj_trainer_step(vj_trainer *t, vj_step_report *out) VJ_MUST_CHECK;
// save.c. Before the first step of `stop_at`: takes the memory for copies, when a save comes before the last step.
vj_status vj_trainer_prepare_saves(vj_trainer *t, int64_t stop_at) VJ_MUST_CHECK;
// A save that still runs is waited for first. `last`: no steps follow, so that this one is waited for too, and needs no copy.
vj_status vj_trainer_save(vj_trainer *t, bool last) VJ_MUST_CHECK;
vj_status vj_trainer_save_wait(vj_trainer *t) VJ_MUST_CHECK;   // all ranks together: until no save runs
// Into t->told, before the step's reduction: requests to stop, and how far a save that runs has come. Behind it, at the step's border:
// what all ranks do about such a save.
void vj_trainer_tell(vj_trainer *t);
vj_status vj_trainer_border(vj_trainer *t) VJ_MUST_CHECK;
// Failed behind the reduction: told before the next step, or where the ranks agree earlier (vj_trainer_pending gives it back).
void vj_trainer_put_off(vj_trainer *t, vj_status status);
vj_status vj_trainer_pending(vj_trainer *t) VJ_MUST_CHECK;
// All ranks that know of `status`: a save that runs is waited for. What it says stays as it is.
void vj_trainer_save_end(vj_trainer *t, vj_status status);
vj_status vj_trainer_share_bad(vj_trainer *t) VJ_MUST_CHECK;   // what any rank found bad, to all; all ranks together
vj_status vj_trainer_load(vj_trainer *t, const vj_checkpoint *from) VJ_MUST_CHECK;
vj_status vj_trainer_recommend(vj_trainer *t) VJ_MUST_CHECK;   // into run.json; a cooldown has none
// init_from.c: opens and checks what init.from names, before anything is written; for a run that exists it may be gone.
vj_status vj_trainer_init_open(vj_trainer *t, bool exists) VJ_MUST_CHECK;
// Lets go of weights that are not those the run began with.
void vj_trainer_init_same(vj_trainer *t);
vj_status vj_trainer_init_weights(vj_trainer *t) VJ_MUST_CHECK;   // into the model, which was initialised before
vj_status vj_trainer_init_read(vj_trainer *t, const char *network, const vj_param *p, double *out) VJ_MUST_CHECK;
// ranks_figures.c: who is where, and at multiples of log.every the time of every rank by phase. All ranks call both.
vj_status vj_trainer_meet(vj_trainer *t) VJ_MUST_CHECK;
vj_status vj_trainer_window(vj_trainer *t) VJ_MUST_CHECK;
void vj_trainer_put_ranks(vj_json_writer *w, const vj_trainer *t);   // members of a line, where a window ended with its step
// report.c: metrics line, held-out figures, summary.
vj_status vj_trainer_log(vj_trainer *t, const vj_step_report *report, bool with_held_out) VJ_MUST_CHECK;
vj_status vj_trainer_summary(vj_trainer *t, const char *outcome) VJ_MUST_CHECK;

#endif
