-- Messages, tasks, interactions.

CREATE TYPE sales.message_channel AS ENUM ('email', 'linkedin', 'sms');
COMMENT ON TYPE sales.message_channel IS 'Channels that messages are written for';

CREATE TABLE sales.messages (
    message_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL DEFAULT sales.current_company_id(),
    prospect_id uuid NOT NULL,
    channel sales.message_channel NOT NULL,
    subject varchar(200),
    content text NOT NULL,
    ai_prompt_used text,
    language varchar(5) NOT NULL
        CONSTRAINT messages_language_check CHECK (language IN ('fr', 'en', 'it', 'es', 'de')),
    is_approved boolean NOT NULL DEFAULT false,
    approved_by uuid,
    approved_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    template_id uuid,
    UNIQUE (company_id, message_id),
    FOREIGN KEY (company_id, prospect_id)
        REFERENCES sales.prospects (company_id, prospect_id) ON DELETE CASCADE,
    FOREIGN KEY (company_id, approved_by) REFERENCES sales.users (company_id, user_id),
    FOREIGN KEY (company_id, template_id) REFERENCES sales.templates (company_id, template_id)
);
CREATE INDEX idx_messages_company_created ON sales.messages (company_id, created_at DESC);
CREATE INDEX messages_prospect_idx ON sales.messages (company_id, prospect_id);
COMMENT ON TABLE sales.messages IS 'Messages written by AI or by users, to be approved before they are sent';
COMMENT ON COLUMN sales.messages.message_id IS 'Key of the message';
COMMENT ON COLUMN sales.messages.company_id IS 'Tenant';
COMMENT ON COLUMN sales.messages.prospect_id IS 'Prospect that it is for';
COMMENT ON COLUMN sales.messages.channel IS 'email, linkedin or sms';
COMMENT ON COLUMN sales.messages.subject IS 'Subject of an e-mail';
COMMENT ON COLUMN sales.messages.content IS 'Text of the message';
COMMENT ON COLUMN sales.messages.ai_prompt_used IS 'Prompt that was given to the AI';
COMMENT ON COLUMN sales.messages.language IS 'Language of the message';
COMMENT ON COLUMN sales.messages.is_approved IS 'True once approve_message() was called; only then it is sent';
COMMENT ON COLUMN sales.messages.approved_by IS 'User who approved';
COMMENT ON COLUMN sales.messages.approved_at IS 'When it was approved';
COMMENT ON COLUMN sales.messages.created_at IS 'When the message was made';
COMMENT ON COLUMN sales.messages.deleted_at IS 'When an application deleted the message; hidden from applications since';
COMMENT ON COLUMN sales.messages.template_id IS 'Template that it was made from, if any';

CREATE TYPE sales.task_type AS ENUM ('email', 'linkedin', 'call', 'meeting', 'follow_up');
COMMENT ON TYPE sales.task_type IS 'What is to be done';
CREATE TYPE sales.task_priority AS ENUM ('low', 'medium', 'high', 'urgent');
COMMENT ON TYPE sales.task_priority IS 'How pressing a task is';
CREATE TYPE sales.task_status AS ENUM ('pending', 'in_progress', 'completed', 'cancelled');
COMMENT ON TYPE sales.task_status IS 'State of a task';

CREATE TABLE sales.tasks (
    task_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL DEFAULT sales.current_company_id(),
    prospect_id uuid NOT NULL,
    assigned_to uuid,
    message_id uuid,
    type sales.task_type NOT NULL,
    priority sales.task_priority NOT NULL DEFAULT 'medium',
    title varchar(200) NOT NULL,
    description text,
    due_date timestamptz,
    status sales.task_status NOT NULL DEFAULT 'pending',
    completed_at timestamptz,
    notes text,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (company_id, task_id),
    FOREIGN KEY (company_id, prospect_id)
        REFERENCES sales.prospects (company_id, prospect_id) ON DELETE CASCADE,
    FOREIGN KEY (company_id, assigned_to) REFERENCES sales.users (company_id, user_id),
    FOREIGN KEY (company_id, message_id) REFERENCES sales.messages (company_id, message_id)
);
CREATE INDEX idx_tasks_assigned_status ON sales.tasks (assigned_to, status, due_date);
CREATE INDEX tasks_prospect_idx ON sales.tasks (company_id, prospect_id);
CREATE INDEX tasks_company_created_idx ON sales.tasks (company_id, created_at);
COMMENT ON TABLE sales.tasks IS 'Marketing and sales actions to do';
COMMENT ON COLUMN sales.tasks.task_id IS 'Key of the task';
COMMENT ON COLUMN sales.tasks.company_id IS 'Tenant';
COMMENT ON COLUMN sales.tasks.prospect_id IS 'Prospect that it is about';
COMMENT ON COLUMN sales.tasks.assigned_to IS 'User who is to do it';
COMMENT ON COLUMN sales.tasks.message_id IS 'Message to send, if any';
COMMENT ON COLUMN sales.tasks.type IS 'email, linkedin, call, meeting or follow_up';
COMMENT ON COLUMN sales.tasks.priority IS 'low, medium, high or urgent';
COMMENT ON COLUMN sales.tasks.title IS 'Title';
COMMENT ON COLUMN sales.tasks.description IS 'Description';
COMMENT ON COLUMN sales.tasks.due_date IS 'When it is due';
COMMENT ON COLUMN sales.tasks.status IS 'pending, in_progress, completed or cancelled';
COMMENT ON COLUMN sales.tasks.completed_at IS 'When it was completed';
COMMENT ON COLUMN sales.tasks.notes IS 'Notes';
COMMENT ON COLUMN sales.tasks.created_at IS 'When the task was made';

CREATE TYPE sales.interaction_channel AS ENUM ('email', 'linkedin', 'phone', 'meeting', 'other');
COMMENT ON TYPE sales.interaction_channel IS 'How people were in touch';
CREATE TYPE sales.interaction_type AS ENUM ('sent', 'received', 'call_made', 'meeting_held');
COMMENT ON TYPE sales.interaction_type IS 'What happened; all but received are outbound';
CREATE TYPE sales.sentiment AS ENUM ('positive', 'neutral', 'negative');
COMMENT ON TYPE sales.sentiment IS 'Tone of an answer';

CREATE TABLE sales.interactions (
    interaction_id uuid NOT NULL DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL DEFAULT sales.current_company_id(),
    prospect_id uuid NOT NULL,
    user_id uuid,
    task_id uuid,
    channel sales.interaction_channel NOT NULL,
    type sales.interaction_type NOT NULL,
    subject varchar(200),
    content text,
    response_received boolean NOT NULL DEFAULT false,
    response_content text,
    response_sentiment sales.sentiment,
    interaction_date timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    message_id uuid,
    PRIMARY KEY (interaction_id, interaction_date),
    FOREIGN KEY (company_id, prospect_id)
        REFERENCES sales.prospects (company_id, prospect_id) ON DELETE CASCADE,
    FOREIGN KEY (company_id, user_id) REFERENCES sales.users (company_id, user_id),
    FOREIGN KEY (company_id, task_id) REFERENCES sales.tasks (company_id, task_id),
    FOREIGN KEY (company_id, message_id) REFERENCES sales.messages (company_id, message_id)
) PARTITION BY RANGE (interaction_date);
CREATE TABLE sales.interactions_default PARTITION OF sales.interactions DEFAULT;
CREATE INDEX idx_interactions_prospect_date
    ON sales.interactions (prospect_id, interaction_date DESC);
CREATE INDEX interactions_company_date_idx
    ON sales.interactions (company_id, interaction_date);
COMMENT ON TABLE sales.interactions IS 'History of communication; partitioned by quarter of interaction_date';
COMMENT ON TABLE sales.interactions_default IS 'Interactions of no other partition; maintain() moves them';
COMMENT ON COLUMN sales.interactions.interaction_id IS 'Key of the interaction, with interaction_date';
COMMENT ON COLUMN sales.interactions.company_id IS 'Tenant';
COMMENT ON COLUMN sales.interactions.prospect_id IS 'Prospect';
COMMENT ON COLUMN sales.interactions.user_id IS 'User who was in touch; null: the system';
COMMENT ON COLUMN sales.interactions.task_id IS 'Task that it came from, if any';
COMMENT ON COLUMN sales.interactions.channel IS 'email, linkedin, phone, meeting or other';
COMMENT ON COLUMN sales.interactions.type IS 'sent, received, call_made or meeting_held';
COMMENT ON COLUMN sales.interactions.subject IS 'Subject';
COMMENT ON COLUMN sales.interactions.content IS 'Content';
COMMENT ON COLUMN sales.interactions.response_received IS 'Was it answered?';
COMMENT ON COLUMN sales.interactions.response_content IS 'The answer';
COMMENT ON COLUMN sales.interactions.response_sentiment IS 'Tone of the answer, found by AI';
COMMENT ON COLUMN sales.interactions.interaction_date IS 'When it happened';
COMMENT ON COLUMN sales.interactions.created_at IS 'When it was recorded';
COMMENT ON COLUMN sales.interactions.message_id IS 'Message that was sent, if any';

CALL sales_internal.protect_table('messages', 'message_id', soft_delete => true);
CALL sales_internal.protect_table('tasks', 'task_id');
CALL sales_internal.protect_table('interactions', 'interaction_id');

