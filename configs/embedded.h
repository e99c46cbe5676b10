// The YAML files of configs/, embedded in the program at build time (cmake/embed.cmake).
#ifndef VJ_CONFIGS_EMBEDDED_H
#define VJ_CONFIGS_EMBEDDED_H

typedef struct vj_embedded_config {
    const char *name;   // "quickstart", "pretrain/vitl16"; the last entry has NULL
    const char *text;
} vj_embedded_config;
extern const vj_embedded_config vj_embedded_configs[];

#endif
