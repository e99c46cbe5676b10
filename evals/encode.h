// Frozen features of video files: from a reference to a model, from a file to clips, from clips to a file of features.
// Streams: memory is one encoder, the open clips and one clip's features, whatever the length of the videos.
#ifndef VJ_EVALS_ENCODE_H
#define VJ_EVALS_ENCODE_H

#include "evals/model_source.h"

enum { VJ_ENCODE_LAYERS = 64 };

typedef struct vj_encode_request {
    const char *checkpoint;         // as for vj_weights_open
    const char *network;            // "target_encoder" or "encoder"
    const char *const *videos;
    int n_videos;
    const char *out;                // .safetensors or .h5
    const char *png;                // NULL: none
    bool pool;                      // mean over tokens
    int n_layers;
    int layers[VJ_ENCODE_LAYERS];   // blocks; negative ones count from the end; none: the last
    int64_t clips;                  // of vj_stream_config
    int crops;
    int64_t frames, crop;           // 0: as the model was trained (else 16 and 256)
    double fps;                     // 0: likewise (else 4)
    int64_t heads, pred_heads;      // where the format does not say
    int threads;
} vj_encode_request;

typedef struct vj_encode_video { const char *path; bool ok; int64_t clips; double seconds; char problem[256]; } vj_encode_video;
typedef struct vj_encode_result {
    char source[512], model[40];
    int64_t frames, crop, tokens, width;
    double fps;
    int layers[VJ_ENCODE_LAYERS], n_layers;
    int64_t failed;
    vj_encode_video *videos;        // (n_videos); free() it
} vj_encode_result;

// Writes the file, which appears whole. A video that cannot be decoded is named in the log, counted, and left out.
// VJ_ERR_DATA: none could be; VJ_ERR_MISMATCH: some could not (the file is there with the others).
//
// safetensors: per video two tensors, "PATH/features" (clips, crops, layers, tokens, C), or (clips, crops, layers, C) when
// pooled, and "PATH/times" (clips, 2): seconds where a clip begins and ends. Tokens run over time, row, column. HDF5: groups
// /videos/00000, ... with attributes `path`, `clips`, `crops`, `layers`, `tokens`, `width`, and datasets `features`
// (clips * crops * layers * tokens, C) and `times` (clips, 2). Both say checkpoint, network, frames, fps, crop and layers.
vj_status vj_encode(const vj_encode_request *request, vj_encode_result *result) VJ_MUST_CHECK;

#endif
