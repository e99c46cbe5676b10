#include "model/schedules.h"

#include <math.h>

static double share(int64_t part, int64_t whole) { return (double)part / (double)(whole > 1 ? whole : 1); }

double vj_warmup_cosine(int64_t s, int64_t warmup, int64_t total, double start, double ref, double final)
{
    if (s < warmup) return start + share(s, warmup) * (ref - start);
    const double lr = final + (ref - final) * 0.5 * (1 + cos(M_PI * share(s - warmup, total - warmup)));
    return lr > final ? lr : final;
}

double vj_linear_decay(int64_t s, int64_t total, double ref, double final)
{
    return ref + share(s, total) * (final - ref);
}

double vj_cosine_wd(int64_t s, int64_t total, double ref, double final)
{
    const double wd = final + (ref - final) * 0.5 * (1 + cos(M_PI * share(s, total)));
    if (final <= ref) return wd > final ? wd : final;
    return wd < final ? wd : final;
}

double vj_linear_ema(int64_t s, int64_t total, double start, double end)
{
    return start + share(s, total) * (end - start);
}
